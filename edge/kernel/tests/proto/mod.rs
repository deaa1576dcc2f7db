//! A writer of ONNX bytes by hand, that can write what our writer never would.

/// An `AttributeProto`: its name, the bytes after it, packed or one by one.
#[derive(Clone)]
pub(crate) struct Attribute {
    name: &'static str,
    one_by_one: Vec<u8>,
    packed: Vec<u8>,
}

/// A model of one node.
#[derive(Clone)]
pub(crate) struct Graph {
    pub(crate) operator: &'static str,
    pub(crate) opset: u8,
    pub(crate) nodes: usize,
    pub(crate) node_input: &'static str,
    pub(crate) element: u8,
    pub(crate) outputs: Vec<&'static str>,
    pub(crate) attributes: Vec<Attribute>,
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(field: u32, value: i64, out: &mut Vec<u8>) {
    varint(u64::from(field << 3), out);
    varint(value as u64, out);
}

fn inside(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(field << 3 | 2), out);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn attribute(name: &'static str, kind: i64, write: impl Fn(bool, &mut Vec<u8>)) -> Attribute {
    let [one_by_one, packed] = [false, true].map(|packed| {
        let mut out = Vec::new();
        inside(1, name.as_bytes(), &mut out);
        write(packed, &mut out);
        number(20, kind, &mut out);
        out
    });
    Attribute { name, one_by_one, packed }
}

pub(crate) fn int(name: &'static str, value: i64) -> Attribute {
    attribute(name, 2, |_, out| number(3, value, out))
}

pub(crate) fn text(name: &'static str, value: &str) -> Attribute {
    attribute(name, 3, |_, out| inside(4, value.as_bytes(), out))
}

pub(crate) fn int_list(name: &'static str, values: &[i64]) -> Attribute {
    attribute(name, 7, |packed, out| {
        if packed {
            let mut run = Vec::new();
            values.iter().for_each(|v| varint(*v as u64, &mut run));
            inside(8, &run, out);
        } else {
            values.iter().for_each(|v| number(8, *v, out));
        }
    })
}

pub(crate) fn float_list(name: &'static str, values: &[f32]) -> Attribute {
    attribute(name, 6, |packed, out| floats(7, values, packed, out))
}

fn floats(field: u32, values: &[f32], packed: bool, out: &mut Vec<u8>) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    if packed {
        return inside(field, &bytes, out);
    }
    for value in bytes.chunks(4) {
        varint(u64::from(field << 3 | 5), out);
        out.extend(value);
    }
}

pub(crate) fn text_list(name: &'static str, values: &[&str]) -> Attribute {
    attribute(name, 8, |_, out| values.iter().for_each(|v| inside(9, v.as_bytes(), out)))
}

/// A tensor of raw bytes.
pub(crate) fn bytes(name: &'static str, element: i64, count: i64, raw: &[u8]) -> Attribute {
    attribute(name, 4, |_, out| {
        let mut tensor = Vec::new();
        number(1, count, &mut tensor);
        number(2, element, &mut tensor);
        inside(9, raw, &mut tensor);
        inside(5, &tensor, out);
    })
}

/// A tensor of `float_data`.
pub(crate) fn packed(name: &'static str, element: i64, count: i64, values: &[f32]) -> Attribute {
    attribute(name, 4, |packed, out| {
        let mut tensor = Vec::new();
        number(1, count, &mut tensor);
        number(2, element, &mut tensor);
        floats(4, values, packed, &mut tensor);
        inside(5, &tensor, out);
    })
}

impl Graph {
    pub(crate) fn regressor(attributes: Vec<Attribute>) -> Self {
        let outputs = vec!["y"];
        Self { operator: "TreeEnsembleRegressor", opset: 3, nodes: 1, node_input: "x", element: 1, outputs, attributes }
    }

    pub(crate) fn ensemble(attributes: Vec<Attribute>) -> Self {
        Self { operator: "TreeEnsemble", opset: 5, ..Self::regressor(attributes) }
    }

    /// With another value for an attribute, or one more.
    pub(crate) fn with(self, attribute: Attribute) -> Self {
        let mut graph = self.without(attribute.name);
        graph.attributes.push(attribute);
        graph
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.attributes.retain(|a| a.name != name);
        self
    }

    pub(crate) fn rename(&mut self, from: &str, to: &'static str) {
        let attribute = self.attributes.iter_mut().find(|a| a.name == from).expect("an attribute of that name");
        let skip = 2 + from.len();
        for bytes in [&mut attribute.one_by_one, &mut attribute.packed] {
            let mut renamed = Vec::new();
            inside(1, to.as_bytes(), &mut renamed);
            renamed.extend(&bytes[skip..]);
            *bytes = renamed;
        }
        attribute.name = to;
    }

    pub(crate) fn encode(&self, packed: bool) -> Vec<u8> {
        let mut node = Vec::new();
        inside(1, self.node_input.as_bytes(), &mut node);
        self.outputs.iter().for_each(|o| inside(2, o.as_bytes(), &mut node));
        inside(4, self.operator.as_bytes(), &mut node);
        for a in &self.attributes {
            inside(5, if packed { &a.packed } else { &a.one_by_one }, &mut node);
        }
        inside(7, b"ai.onnx.ml", &mut node);

        let mut input = Vec::new();
        inside(1, b"x", &mut input);
        // Type › tensor type: element, shape of [unknown, 3].
        let element = [0x08, self.element, 0x12, 6, 0x0a, 0, 0x0a, 2, 0x08, 3];
        let mut tensor = Vec::new();
        inside(1, &element, &mut tensor);
        inside(2, &tensor, &mut input);

        let mut graph = Vec::new();
        (0..self.nodes).for_each(|_| inside(1, &node, &mut graph));
        inside(11, &input, &mut graph);
        for output in &self.outputs {
            let mut info = Vec::new();
            inside(1, output.as_bytes(), &mut info);
            inside(12, &info, &mut graph);
        }
        let mut model = Vec::new();
        number(1, 8, &mut model);
        inside(7, &graph, &mut model);
        let mut opset = Vec::new();
        inside(1, b"ai.onnx.ml", &mut opset);
        number(2, self.opset.into(), &mut opset);
        inside(8, &opset, &mut model);
        model
    }
}
