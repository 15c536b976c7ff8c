"""judgement.json: what the page, the terminal's end and the summaries of a run are made of, and of nothing else.

A page of an old run is made again from it with `trt-matrix report`, where neither the outputs, nor the
network, nor an engine is left. Its JSON schema is runner/judgement.schema.json (`trt-matrix schema judgement`).
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from trt_matrix.core.boxes.results import FedImage, Picture
from trt_matrix.core.judgement import Judgement
from trt_matrix.errors import StoreError
from trt_matrix.store.results import explained, write_text

JUDGEMENT = "judgement.json"
AT = "at"


class _Schema(GenerateJsonSchema):
    """As pydantic makes it, but for numbers: JSON has none that is infinite, or not a number."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        named = {"enum": ["NaN", "Infinity", "-Infinity"], "type": "string"}
        return {"anyOf": [super().float_schema(schema), named]}

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - its name again
        return False


class JudgementFile(BaseModel):
    model_config = ConfigDict(
        frozen=True, ser_json_inf_nan="strings", use_attribute_docstrings=True, title="judgement"
    )

    schema_version: Literal[1]
    """Raised where a field is renamed, goes, or means something else; a new one with a default needs nothing."""
    seconds: Mapping[str, float] = {}
    """What the run took: `wall`, and its stages."""
    pictures: Mapping[str, Picture] | None = None
    """File name of a worst image → it as a `data:` URI; None where no images are shown."""
    fed: Mapping[str, FedImage] = {}
    """File name of a worst image → it as it was fed; empty in files written before this was kept."""
    facts: tuple[Mapping[str, Any], ...] = ()
    """What environments stated and what was probed in them, each once."""
    judgement: Judgement
    """`facts` of a cell are `{"at": 3}`: their place in `facts` above, counted from 0."""

    def write(self, folder: Path) -> Path:
        """Writes it into `folder`, whole or not at all; returns where it is.

        Raises:
            StoreError: it cannot be written.
        """
        facts: dict[str, tuple[int, Mapping[str, Any]]] = {}
        cells = []
        for result in self.judgement.cells:
            key = json.dumps(result.facts, sort_keys=True, default=str)
            at, _ = facts.setdefault(key, (len(facts), result.facts)) if result.facts else (0, {})
            cells.append(replace(result, facts={AT: at}) if result.facts else result)
        stored = self.model_copy(
            update={
                "judgement": replace(self.judgement, cells=tuple(cells)),
                "facts": tuple(stated for _, stated in facts.values()),
            }
        )
        text = stored.model_dump_json(exclude_defaults=True)
        return write_text(folder / JUDGEMENT, f"{text}\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads one.

        `path` may be the folder of a run or a ticket that it is in.

        Raises:
            StoreError: it is not there, damaged, or of another version.
        """
        path = path / JUDGEMENT if path.is_dir() else path
        again = "`trt-matrix judge RUN` makes it from what the run stored"
        with explained(path):
            if not path.exists():
                message = f"{path}: there is no such judgement; {again}"
                raise StoreError(message)
            content = path.read_bytes()
        try:
            stored = cls.model_validate_json(content)
            cells = [
                replace(result, facts=stored.facts[result.facts[AT]]) if result.facts else result
                for result in stored.judgement.cells
            ]
        except (KeyError, IndexError, TypeError) as error:
            message = f"{path}: damaged: facts of a cell are not in it; {again}"
            raise StoreError(message) from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            message = f"{path}: damaged, or of another version ({where}: {first['msg']}); {again}"
            raise StoreError(message) from error
        whole = replace(stored.judgement, cells=tuple(cells))
        return stored.model_copy(update={"judgement": whole, "facts": ()})


def schema() -> dict[str, Any]:
    """Returns the JSON schema of judgement.json, as it is written."""
    return JudgementFile.model_json_schema(mode="serialization", schema_generator=_Schema)
