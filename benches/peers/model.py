"""Trains the model that all engines run, in each engine's own format. `model.py DIRECTORY`.

Leaves are rounded to steps of 2^-20 and thresholds down to float32, so that every engine has the same trees and float32
sums are exact in any order.
"""

import subprocess
import sys
from pathlib import Path

import lightgbm
import lleaves
import numpy
import onnx
import tl2cgen
import treelite
from onnx import TensorProto, helper

FEATURES, TREES, ROWS = 40, 200, 1_000
LEVELS = 7
STEP = 2.0**-20


def data():
    """Twenty thousand rows whose answer, between 0 and 1, needs deep trees."""
    noise = numpy.random.default_rng(42)
    x = noise.normal(size=(20_000, FEATURES)).astype(numpy.float32)
    z = x[:, 0] * x[:, 1] + numpy.sin(2 * x[:, 2]) + x[:, 3:12].sum(axis=1) / 3 + noise.normal(size=len(x)) * 0.5
    return x, 1 / (1 + numpy.exp(-z))


def train(x, y, **objective):
    settings = {"num_leaves": 63, "max_depth": 6, "learning_rate": 0.05, "min_data_in_leaf": 20, "verbose": -1,
                "seed": 42, "deterministic": True, "num_threads": 2, **objective}
    text = lightgbm.train(settings, lightgbm.Dataset(x, y), TREES).model_to_string()
    return lightgbm.Booster(model_str=exact(text))


def exact(text):
    """The model with exact numbers. `tree_sizes` goes: LightGBM then finds the trees by itself."""
    lines = []
    for line in text.split("\n"):
        name, _, values = line.partition("=")
        if name == "threshold" and values:
            line = "threshold=" + " ".join(repr(down(float(v))) for v in values.split())
        elif name == "leaf_value":
            line = "leaf_value=" + " ".join(repr(round(float(v) / STEP) * STEP) for v in values.split())
        elif name == "tree_sizes":
            continue
        lines.append(line)
    return "\n".join(lines)


def down(value):
    """The largest float32 that is not above: for a float32 x the comparison is the same."""
    near = numpy.float32(value)
    return float(near if float(near) <= value else numpy.nextafter(near, numpy.float32(-numpy.inf)))


def columns(booster, levels):
    """The lists of the classic operator; each leaf has a value for every level."""
    lists = {name: [] for name in ("tree", "node", "feature", "value", "mode", "low", "high")}
    leaves = {name: [] for name in ("tree", "node", "target", "weight")}
    for tree_id, tree in enumerate(booster.dump_model()["tree_info"]):
        nodes = []

        def walk(node):
            place = len(nodes)
            nodes.append(None)
            if "leaf_value" in node:
                nodes[place] = (0, 0.0, "LEAF", 0, 0)
                for level in range(levels):
                    # Any values do for the other levels: what is measured is adding seven of them.
                    weight = round(node["leaf_value"] * (1 - level / 10) / STEP) * STEP
                    for name, v in zip(leaves, (tree_id, place, level, weight)):
                        leaves[name].append(v)
            else:
                assert node["decision_type"] == "<="
                low = walk(node["left_child"])
                high = walk(node["right_child"])
                nodes[place] = (node["split_feature"], node["threshold"], "BRANCH_LEQ", low, high)
            return place

        walk(tree["tree_structure"])
        for place, node in enumerate(nodes):
            for name, v in zip(lists, (tree_id, place, *node)):
                lists[name].append(v)
    return lists, leaves


def file(booster, path, classifier=False, levels=1):
    lists, leaves = columns(booster, levels)
    of = "class" if classifier else "target"
    attributes = {
        "nodes_treeids": lists["tree"], "nodes_nodeids": lists["node"], "nodes_featureids": lists["feature"],
        "nodes_values": lists["value"], "nodes_modes": lists["mode"], "nodes_truenodeids": lists["low"],
        "nodes_falsenodeids": lists["high"], "post_transform": "NONE", f"{of}_treeids": leaves["tree"],
        f"{of}_nodeids": leaves["node"], f"{of}_ids": leaves["target"], f"{of}_weights": leaves["weight"],
    }
    table = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
    if classifier:
        operator, names = "TreeEnsembleClassifier", ["label", "y"]
        attributes["classlabels_int64s"] = [0, 1]
        results = [helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]), table("y", 2)]
    else:
        operator, names = "TreeEnsembleRegressor", ["y"]
        attributes["n_targets"] = levels
        results = [table("y", levels)]
    node = helper.make_node(operator, ["x"], names, domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph([node], "peers", [table("x", FEATURES)], results)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def main(directory):
    x, y = data()
    one = train(x, y, objective="regression")
    file(one, directory / "one.onnx")
    file(one, directory / "classifier.onnx", classifier=True)
    file(one, directory / "seven.onnx", levels=LEVELS)

    rows = data()[0][:ROWS]
    rows.astype("<f4").tofile(directory / "rows.f32")
    text = directory / "one.txt"
    one.save_model(text)
    lightgbm.Booster(model_file=text).predict(rows).astype("<f8").tofile(directory / "lightgbm.f64")

    lleaves.Model(model_file=str(text)).compile(cache=str(directory / "lleaves.o"))
    link = ["gcc", "-shared", "-o", str(directory / "lleaves.so"), str(directory / "lleaves.o"), "-lm"]
    subprocess.run(link, check=True)

    source = directory / "tl2cgen"
    # Four files, so that gcc needs not optimise one function of twenty thousand branches.
    tl2cgen.generate_c_code(treelite.frontend.load_lightgbm_model(text), dirpath=str(source),
                            params={"parallel_comp": 4, "quantize": 0})
    subprocess.run(["gcc", "-O2", "-march=native", "-shared", "-fPIC", "-std=c99", "-o", str(directory / "tl2cgen.so"),
                    *map(str, source.glob("*.c")), "-lm"], check=True)
    assert one.num_trees() == TREES, one.num_trees()


main(Path(sys.argv[1]))
