"""What is a secret and what is not; the same one gets the same name wherever it stands."""

import base64
import json
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import small_networks as networks
from tests.unit.tickets import ADDRESS, HOST, MAIL, TOKEN, USER, UUIDS
from trt_matrix.core.cells import Pass, Precision, Status
from trt_matrix.core.records import Record
from trt_matrix.ticket.here import secrets_here
from trt_matrix.ticket.kinds import HiddenKind, Secret
from trt_matrix.ticket.network import redacted
from trt_matrix.ticket.redaction import Redactor, versions_in


def taken(text: str, *known: Secret, versions: tuple[str, ...] = ()) -> str:
    redactor = Redactor(known, versions=versions)
    redactor.learn(text)
    return redactor.text(text, "log")


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("/home/alice/x", "/home-1/x"),
        ("/Users/alice", "/home-1"),
        (r"C:\Users\alice\x", r"/home-1\x"),
        ('"C:\\\\Users\\\\alice\\\\x"', '"/home-1\\\\x"'),
        ("/root/.cache", "/home-1/.cache"),
        ("/home/alice and alice", "/home-1 and user-1"),
        ("ssh://alice@gpubox:22/", "ssh://user-1@host-1:22/"),
        ("http://alice:hunter2@gpubox/", "http://credential-1:token-1@host-1/"),
        ("https://nvcr.io/v2/", "https://nvcr.io/v2/"),
        ("http://10.1.2.3:80/", "http://ip-1:80/"),
        ("http://[fd00::12]:80/", "http://ip-1:80/"),
        ("10.1.2.3, 10.1.2.4, 10.1.2.3", "ip-1, ip-2, ip-1"),
        ("addr=10.1.2.3;", "addr=ip-1;"),
        ("inet6 fe80::1ff:fe23:4567:890a/64", "inet6 ip-1/64"),
        ("00:1b:44:11:3a:b7", "mac-1"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer token-1"),
        ('{"auth": "d2lsbGk6cHc="}', '{"auth": "token-1"}'),
        ("--password hunter2 run", "--password token-1 run"),
        ("HF_TOKEN=hf_0123456789abcdefXYZ", "HF_TOKEN=token-1"),
        ("key nvapi-abcdefghijklmnopqr", "key token-1"),
        ("build07.acme.internal", "host-1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----", "token-1"),
        ("a.b@c.org", "mail-1"),
        (f"GPU-{UUIDS[0]}", "GPU-00000000-0000-4000-8000-000000000001"),
        ("registry.acme.net/team/x@sha256:12", "host-1/team/x@sha256:12"),
    ],
)
def test_secrets_that_give_themselves_away(text: str, without: str) -> None:
    assert taken(text) == without


@pytest.mark.parametrize(
    "text",
    [
        "libnvinfer.so.8.6.1.6", "TensorRT 8.6.1.6", "tensorrt==10.0.1.6", "version: 8.9.7.29",
        "127.0.0.1", "::1", "0.0.0.0", "std::vector", "a::b", "12:34:56", "1.2.3.4.5",
        "ort-1.32.0@cpu@fp32", "x@sha256:0123", "nvcr.io/nvidia/tensorrt@sha256:00", "tokens: 5",
        "/homework/x", "/opt/root/x", "/rooted", "author: Ann", "sha256:" + "0a1b2c3d" * 8,
        "head.conv/Conv2D:0", "cpu/int8-shared-entropy", "2026-11-23T09:28:52Z", "0x1f:2",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert taken(text) == text


def test_a_known_version_is_no_address() -> None:
    assert taken("it has 10.0.1.6", versions=("10.0.1.6",)) == "it has 10.0.1.6"
    facts = {
        "engine": {"version": "10.0.1.6"},
        "packages": {"tensorrt": "8.6.1.6"},
        "x": "10.9.9.9",
    }
    assert set(versions_in(facts)) == {"10.0.1.6", "8.6.1.6"}


def test_a_secret_learned_in_one_place_is_found_bare_in_another() -> None:
    redactor = Redactor()
    redactor.learn({"registry_password": "hunter2hunter2"})
    redactor.learn({"env": {"LICENCE": "abc-123-def", "CUDA_VISIBLE_DEVICES": "0"}})
    redactor.learn({"hosts": {"basement": "ssh://carla@10.1.2.3"}})
    redactor.learn({"image": "registry.acme.net:5000/team/x:1"})
    said = redactor.text("hunter2hunter2 abc-123-def basement carla registry.acme.net 0", "log")
    assert said == "token-1 variable-1 host-1 user-1 host-2 0"


def test_variables_are_taken_whole_but_for_those_an_engine_needs() -> None:
    value = {"env": {"A": "1", "OMP_NUM_THREADS": "4", "CUDA_TOKEN": "x1"}, "password": "p", "n": 3}
    assert Redactor().value(value, "f") == {
        "env": {"A": "variable-1", "OMP_NUM_THREADS": "4", "CUDA_TOKEN": "variable-2"},
        "password": "token-1",
        "n": 3,
    }


def test_names_are_found_in_words_but_short_ones_are_not() -> None:
    known = (
        Secret(HiddenKind.USER, "ann"),
        Secret(HiddenKind.USER, USER),
        Secret(HiddenKind.HOST, HOST),
    )
    assert taken("ann annotates", *known) == "user-1 annotates"
    assert taken(f"x{USER.upper()}9 {HOST}.lan", *known) == "xuser-19 host-1"


def test_everybodys_names_and_words_of_the_format_stay_and_are_told() -> None:
    redactor = Redactor(
        [Secret(HiddenKind.USER, "root"), Secret(HiddenKind.USER, "status")], vocabulary=["status"]
    )
    assert redactor.text("root has status", "f") == "root has status"
    assert redactor.text("/home/status/x", "f") == "/home-1/x"
    assert any("user name" in one for one in redactor.kept)


def test_dataclasses_keep_their_types() -> None:
    record = Pass(precision=Precision.FP32)
    redactor = Redactor([Secret(HiddenKind.USER, "fp32x"), Secret(HiddenKind.USER, USER)])
    assert redactor.dataclass((record, {USER: (1, None, Status.OK)}), "f") == (
        record, {"user-1": (1, None, Status.OK)},
    )  # fmt: skip
    assert Record.__name__ == "Record"


def test_a_leak_is_found_also_in_wide_characters() -> None:
    redactor = Redactor([Secret(HiddenKind.TOKEN, TOKEN)])
    redactor.text(f"from {ADDRESS}", "log")
    assert redactor.leak(f"x{TOKEN}".encode()) is HiddenKind.TOKEN
    assert redactor.leak(TOKEN.encode("utf-16-le")) is HiddenKind.TOKEN
    assert redactor.leak(ADDRESS.encode()) is HiddenKind.ADDRESS
    assert redactor.leak(b"nothing") is None


@given(st.text(max_size=300))
def test_any_text_can_be_read_and_nothing_of_it_is_read_twice(text: str) -> None:
    redactor = Redactor([Secret(HiddenKind.USER, USER)])
    redactor.learn(text)
    planted = redactor.text(f"{text} {USER} {ADDRESS}", "f")
    assert USER not in planted.lower()
    assert not redactor.leak(redactor.text(f"\n{text}\n", "f").encode("utf-8", "replace"), least=12)


@pytest.mark.parametrize(
    "unit", [":", "a-", "a.", "a@", "f:", "/home/", "password", "0", "1.", "://"]
)
def test_a_hostile_log_takes_no_time(unit: str) -> None:
    text = unit * (40_000 // len(unit))
    assert isinstance(taken(text), str)


# Networks


def test_a_network_without_secrets_keeps_every_byte() -> None:
    content = networks.detector().SerializeToString()
    assert redacted(content, Redactor([Secret(HiddenKind.USER, USER)]), "f") is content


def test_names_in_a_network_change_together_and_the_function_stays() -> None:
    model = networks.detector()
    for node in model.graph.node:
        for names in (node.input, node.output):
            renamed = [f"{USER}.{name}" if name == "up" else name for name in names]
            del names[:]
            names.extend(renamed)
    model.graph.node[0].doc_string = model.doc_string = f"by {MAIL}"
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("note", f"/home/{USER}"))
    model.graph.node[1].attribute.append(onnx.helper.make_attribute("notes", [USER, b"\xff" * 4]))
    model.functions.add(name=USER, domain=HOST)
    redactor = Redactor([Secret(HiddenKind.USER, USER), Secret(HiddenKind.HOST, HOST)])
    model_proto = onnx.load_from_string(redacted(model.SerializeToString(), redactor, "f"))
    said = str(model_proto)
    assert not [one for one in (USER, HOST, MAIL) if one in said]
    assert [node.input[0] for node in model_proto.graph.node if node.op_type == "Concat"] == [
        "user-1.up"
    ]
    assert model_proto.graph.node[1].attribute[-1].strings[1] == b"\xff" * 4
    assert [tensor.raw_data for tensor in model_proto.graph.initializer] == [
        weight.raw_data for weight in model.graph.initializer
    ]
    assert (HiddenKind.COMMENT, "f") in redactor.counts


# This machine


def test_secrets_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login = base64.b64encode(b"otto:hunter2hunter2").decode()
    robot = base64.b64encode(b"$oauthtoken:nvapi-secret-secret").decode()
    config = {
        "auths": {"https://reg.acme.net:5000/v1": {"auth": login}, "nvcr.io": {"auth": robot}}
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    environ = {
        "USER": "otto",
        "DOCKER_CONFIG": str(tmp_path),
        "A_TOKEN": "abcabc",
        "PWD": "/x/y/zz",
    }
    found = {(secret.kind, secret.text) for secret in secrets_here(environ, tmp_path / "results")}
    assert {
        (HiddenKind.USER, "otto"), (HiddenKind.TOKEN, "abcabc"), (HiddenKind.HOST, "reg.acme.net"),
        (HiddenKind.REGISTRY, login), (HiddenKind.REGISTRY, "hunter2hunter2"),
        (HiddenKind.REGISTRY, "nvapi-secret-secret"), (HiddenKind.FOLDER, str(tmp_path / "results")),
    } <= found  # fmt: skip
    assert not [text for kind, text in found if text in ("nvcr.io", "$oauthtoken", "/x/y/zz")]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"auths": 3}', '{"auths": {"x": 3}}', "\x00"])
def test_a_damaged_docker_config_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    secrets = secrets_here({"DOCKER_CONFIG": str(tmp_path)}, tmp_path)
    assert not [secret for secret in secrets if secret.kind is HiddenKind.REGISTRY]
