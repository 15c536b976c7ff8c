"""191 forms of secrets in 13 places, as text and in JSON: none may be left; and of what is none, under 1 % goes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.secret_corpus import PLACES, SHAPES, harmless, shapes
from trt_matrix.ticket.kinds import HiddenKind, Secret
from trt_matrix.ticket.redaction import Redactor

CASES = [(place, shape, text, secrets) for shape, text, secrets in shapes(10) for place in PLACES]


def redacted(value: Any) -> Any:
    redactor = Redactor()
    redactor.learn(value)
    return redactor.value(value, "f")


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(SHAPES) >= 190
    assert len(CASES) >= 2400
    assert sum(len(secrets) for *_, secrets in CASES) >= 2800


@pytest.mark.parametrize("form", ["text", "in JSON", "in JSON inside of JSON"])
def test_no_planted_secret_is_left(form: str) -> None:
    left = []
    for place, shape, text, secrets in CASES:
        value: Any = PLACES[place].format(text)
        if form == "in JSON":
            value = {"rows": [{"note": value}]}
        elif form == "in JSON inside of JSON":
            # As a job that logs its request does; a block's lines are then one.
            value = json.dumps({"note": value})
        told = json.dumps(redacted(value), ensure_ascii=False).lower()
        if any(json.dumps(secret, ensure_ascii=False)[1:-1].lower() in told for secret in secrets):
            left.append((place, shape))
    assert left == []


def test_of_what_is_no_secret_less_than_one_line_in_a_hundred_changes() -> None:
    lines = harmless()
    changed = [line for line in lines if redacted(line) != line]
    assert len(lines) > 5000
    assert len(changed) < 0.01 * len(lines), changed


# What stopped tickets that held nothing, and what was left in those that were made


def test_a_folder_whose_path_begins_anothers_refuses_no_ticket() -> None:
    redactor = Redactor([Secret(HiddenKind.FOLDER, "/work/main")])
    text = "cd /work/main; cd /work/main2; ls /work/main/x /work/main.old"
    clean = redactor.text(text, "log")
    assert clean == "cd /folder-1; cd /work/main2; ls /folder-1/x /work/main.old"
    assert redactor.leak(clean.encode()) is None
    assert redactor.leak(text.encode()) is HiddenKind.FOLDER


@pytest.mark.parametrize(
    "secret", ['pa"ss\\word', "pässwört", "line\nbreak!", "tab\there", "sla/sh\u2028"]
)
def test_a_secret_is_found_however_json_spells_it(secret: str) -> None:
    redactor = Redactor([Secret(HiddenKind.TOKEN, secret)])
    for content in (
        json.dumps({"a": {"b": [f"x {secret} y"]}}),
        json.dumps({secret: 1}, ensure_ascii=False),
        json.dumps([secret]).replace("/", "\\/"),
    ):
        assert redactor.leak(content.encode()) is HiddenKind.TOKEN
        clean = json.dumps(redactor.value(json.loads(content), "f"))
        assert redactor.leak(clean.encode()) is None
        assert "token-1" in clean


def test_a_name_and_its_value_are_told_apart_from_other_pairs() -> None:
    value = {
        "pairs": [["api_key", "x1y2z3"], ["a", "b"]],
        "settings": [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "LANG", "value": "C"}],
        "hostname": "zeppelin", "user": "ottokar", "serial": "0320718012345",
    }  # fmt: skip
    assert redacted(value) == {
        "pairs": [["api_key", "token-1"], ["a", "b"]],
        "settings": [{"name": "DB_PASSWORD", "value": "token-2"}, {"name": "LANG", "value": "C"}],
        "hostname": "host-1", "user": "user-1", "serial": "mac-1",
    }  # fmt: skip


def test_what_a_line_says_once_is_found_bare_elsewhere() -> None:
    lines = ["login as wilhelmina@zeppelin:~$", "on zeppelin, wilhelmina said so"]
    redactor = Redactor()
    redactor.learn(lines)
    assert redactor.text(lines[1], "f") == "on host-1, user-1 said so"


def test_no_secret_is_written_down_in_the_corpus_itself() -> None:
    """They are made from a seed, so that no scanner of repositories has to be silenced."""
    text = (Path(__file__).parent / "secret_corpus.py").read_text("utf-8")
    for _, _, secrets in shapes(10):
        for secret in secrets:
            assert len(secret) < 24 or secret not in text
