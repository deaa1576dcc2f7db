"""A Python program that uses the bindings as an app would. Arguments: the fixtures, and a directory for a device's state."""

import base64
import json
import pathlib
import sys

from plimsoll import (
    Decided, Device, Evaluator, History, Kind, PaymentRequest, Place, Profile, Refused, Row, Settlement, Setup,
)

fixtures, state = pathlib.Path(sys.argv[1]), sys.argv[2]
NOW = 1_795_219_200 + 86_400
ROOT = (fixtures / "published/root.json").read_bytes()


def repository(release):
    root = fixtures / "published" / release
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refused(call):
    try:
        call()
    except Refused.Because as error:
        return error.code, error.reason
    raise AssertionError("must be refused")


def history(case):
    profile = case["profile"]
    rows = [
        Row(at=at, amount_minor=minor, kind=Kind[kind.upper()], payee=payee,
            offline=None if offline is None else Settlement[offline.upper()],
            place=None if place is None else Place(latitude_e6=place[0], longitude_e6=place[1]))
        for at, minor, kind, payee, offline, place in case["rows"]
    ]
    return History(
        profile=Profile(opened_at=profile["opened_at"], tier=profile["tier"], attested=profile["attested"],
                        offset_min=profile["offset"], currency=profile["currency"]),
        opening_minor=case["opening_minor"], rows=rows, at=case["at"],
    )


def golden_vectors():
    equal = 0
    for release, now in (("first", NOW), ("second", NOW + 7 * 86_400)):
        files = repository(release)
        evaluator = Evaluator.open(files, ROOT, now, None, None)
        assert evaluator.model_id() == "tng-fixture"
        digest = json.loads(evaluator.release())["manifest"]["golden_sha256"]
        golden = json.loads(next(data for path, data in files.items() if digest in path))
        for case in golden["cases"]:
            answer = evaluator.evaluate(history(case), None, None)
            assert answer.feature_bits == case["feature_bits"]
            assert [[p.age, p.steps, p.certified] for p in answer.curve] == case["outputs"]
            equal += 1
    print(f"{equal} golden histories equal")


def refusals():
    files = repository("first")
    for path, data in files.items():
        flipped = bytearray(data)
        flipped[len(flipped) // 2] ^= 1
        code, reason = refused(lambda: Evaluator.open({**files, path: bytes(flipped)}, ROOT, NOW, None, None))
        assert code != "request" and reason, path
    print(f"{len(files)} flipped files refused")
    assert refused(lambda: Evaluator.open(files, ROOT, NOW + 365 * 86_400, None, None))[0] == "expired"
    assert refused(lambda: Evaluator.open(files, b"", NOW, None, None))[0] == "truncated"
    assert refused(lambda: Evaluator.open(files, ROOT, NOW, "{", None))[0] == "request"
    seen = Evaluator.open(repository("second"), ROOT, NOW + 7 * 86_400, None, None).floors()
    assert refused(lambda: Evaluator.open(files, ROOT, NOW, seen, None))[0] == "rollback"


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def remaining(told, left):
    assert (left.remaining, left.per_payment, left.without_proof) == (
        told["remaining"], told["per_payment"], told["without_proof"])
    assert (left.bound.name.lower(), left.says, left.advises) == (bound_name(told["bound"]), told["says"], told["advises"])
    assert [(r.bound.name.lower(), r.left) for r in left.reasons] == [
        (bound_name(r["bound"]), r["left"]) for r in told["reasons"]]


def bound_name(name):
    # UniFFI writes an underscore where a digit ends: Rolling24h is ROLLING24H here.
    return name.replace("rolling_24h", "rolling24h")


def payment_request(claims):
    return PaymentRequest(payee=claims["payee"], amount=claims["amt"], currency=claims["cur"], nonce=decoded(claims["nonce"]),
                          issued_at=claims["iat"], expires_at=claims["exp"])


def take(device, step):
    """Does one step, and asserts that it is answered as Rust recorded."""
    told = step.get("answer")
    if "install" in step:
        installed = device.install(repository(step["install"]), step["terms"]["now"])
        assert (installed.model_version, installed.is_new) == (told["model_version"], told["new"])
        return
    (command, given), = step["command"].items()
    if command == "accept":
        assert device.accept(given["grant"]["jws"].encode(), given["now"]) == told["new"]
    elif command == "limit":
        remaining(told, device.limit(given["now"]))
    elif command == "curve":
        assert [[point.age, point.remaining] for point in device.curve()] == told
    elif command == "outbox":
        paid = [(p.number, p.payee, p.amount, p.at, p.token.decode()) for p in device.outbox()]
        assert paid == [(p["number"], p["payee"], p["amount"], p["at"], p["token"]["jws"]) for p in told]
    elif command == "authorise":
        decided = device.authorise(payment_request(given["request"]), given.get("proved", False), False, given["now"])
        remaining(told["left"], decided.left)
        if told["decision"] == "approve":
            assert isinstance(decided, Decided.APPROVE)
            assert decided.token.decode() == told["token"]["jws"]
            assert (decided.number, decided.repeated) == (told["number"], told["repeated"])
        elif told["decision"] == "step_up":
            assert isinstance(decided, Decided.STEP_UP)
        else:
            assert isinstance(decided, Decided.DECLINE)
            assert (decided.bound, decided.says, decided.advises) == (told["bound"], told["says"], told["advises"])
    elif command in ("files", "fly"):
        pass  # of the JSON interface: a directory keeps itself, and an unknown method does not compile
    else:
        raise AssertionError(f"no such command: {command}")


def life():
    recorded = json.loads((fixtures / "device.json").read_text())
    given = recorded["setup"]
    setup = Setup(
        directory=state, root=given["root"], model_id=given["model_id"], policy=json.dumps(given["policy"]),
        account=given["account"], programme=given["programme"], currency=given["currency"], issuer=given["issuer"],
        jwks=json.dumps(given["jwks"]), device_seed=decoded(given["device_seed"]), entropy=decoded(given["entropy"]),
    )
    device = Device.open(setup, given["now"])
    for step in recorded["steps"]:
        if "refused" in step and "fly" not in step.get("command", {}):
            assert refused(lambda: take(device, step)) == (step["refused"]["code"], step["refused"]["message"])
        else:
            take(device, step)
    print(f"{len(recorded['steps'])} steps of a device's life equal")
    assert refused(lambda: Device.open(setup, given["now"]))[0] == "storage", "one process, one device"
    outbox = [paid.token for paid in device.outbox()]
    assert json.loads(device.status(given["now"]))["wallet"]["number"] == len(outbox) == 2
    del device
    again = Device.open(setup, given["now"])
    assert [paid.token for paid in again.outbox()] == outbox, "what was paid is remembered"
    assert again.grant() is not None


golden_vectors()
refusals()
life()
