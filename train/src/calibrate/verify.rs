//! A certificate against its log: derived again, and compared number by number.

use plimsoll_model::artifact::Certificate;
use serde_json::Value;

use super::{Log, derive};

/// One place where a certificate does not follow from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, like `cells[1].violation_ppm`.
    pub path: String,
    /// What the certificate says.
    pub stated: String,
    /// What the log gives.
    pub derived: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: the certificate says {}, the log gives {}", self.path, self.stated, self.derived)
    }
}

/// Every place where `stated` does not follow from `log`; none when all of it does.
pub fn verify(stated: &Certificate, log: &Log) -> Vec<Difference> {
    differences(stated, &derive(log))
}

pub(super) fn differences(stated: &Certificate, derived: &Certificate) -> Vec<Difference> {
    let value = |c: &Certificate| serde_json::to_value(c).expect("a certificate is plain data");
    let mut found = Vec::new();
    compare("", &value(stated), &value(derived), &mut found);
    found
}

fn compare(path: &str, stated: &Value, derived: &Value, found: &mut Vec<Difference>) {
    match (stated, derived) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&inner, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for ix in 0..a.len().max(b.len()) {
                let (a, b) = (a.get(ix).unwrap_or(&Value::Null), b.get(ix).unwrap_or(&Value::Null));
                compare(&format!("{path}[{ix}]"), a, b, found);
            }
        }
        _ if stated == derived => {}
        _ => found.push(Difference { path: path.to_owned(), stated: stated.to_string(), derived: derived.to_string() }),
    }
}
