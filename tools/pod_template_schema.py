# SPDX-License-Identifier: Apache-2.0
"""Makes the compact pod template schema that ships with the hub from Sedna's published CRD.

python tools/pod_template_schema.py FOLDER/sedna.io_incrementallearningjobs.yaml
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).resolve().parents[1] / "cloud/src/helmet_cloud/assets/resources/pod-template.json"
NOTICE = (
    "Structure of a pod template (names, types, what is required; no descriptions), taken from build/crds/"
    "sedna.io_incrementallearningjobs.yaml of kubeedge/sedna at commit 2c30e569 (v0.7.0), Apache-2.0, "
    "(c) The KubeEdge Authors; it goes back to Kubernetes, Apache-2.0, (c) The Kubernetes Authors."
)
WORTH = 40  # characters of JSON from which a schema that recurs gets a name of its own

Schema = dict[str, Any]


def bare(schema: Schema) -> Schema:
    """The schema without its descriptions."""
    found: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            found[key] = {name: bare(each) for name, each in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            found[key] = bare(value)
        elif key != "description":
            found[key] = value
    return found


def parts(schema: Schema, name: str) -> list[tuple[str, Schema]]:
    """The schema and all schemas in it, innermost first, each with the name of the field that it stands at."""
    found = []
    for field, each in schema.get("properties", {}).items():
        found += parts(each, field)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += parts(schema[key], name)
    return [*found, (name, schema)]


def shared(schema: Schema) -> Schema:
    """``{"root", "definitions"}``: what recurs stands once, and is referred to by name."""
    objects = [(name, each) for name, each in parts(schema, "PodTemplate") if "properties" in each]
    texts = [(name, json.dumps(each, sort_keys=True)) for name, each in objects]
    often = Counter(text for _, text in texts)
    names: dict[str, str] = {}
    for name, text in texts:
        if often[text] > 1 and len(text) > WORTH and text not in names:
            title = re.sub(r"(?:^|[^A-Za-z])([A-Za-z])", lambda match: match[1].upper(), name)
            taken = sum(re.fullmatch(rf"{title}\d*", each) is not None for each in names.values())
            names[text] = f"{title}{taken + 1 if taken else ''}"

    def referring(each: Schema, *, whole: bool = False) -> Schema:
        text = json.dumps(each, sort_keys=True)
        if text in names and not whole:
            return {"$ref": f"#/components/schemas/{names[text]}"}
        found = dict(each)
        if "properties" in each:
            found["properties"] = {name: referring(value) for name, value in each["properties"].items()}
        for key in ("items", "additionalProperties"):
            if isinstance(each.get(key), dict):
                found[key] = referring(each[key])
        return found

    definitions = {name: referring(json.loads(text), whole=True) for text, name in names.items()}
    return {"root": referring(schema), "definitions": dict(sorted(definitions.items()))}


def main(crd: Path) -> None:
    """Writes the compact form."""
    document = yaml.load(crd.read_text(), Loader=yaml.CSafeLoader)
    spec = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    templates = [bare(spec[part]["properties"]["template"]) for part in ("trainSpec", "evalSpec", "deploySpec")]
    if any(each != templates[0] for each in templates):
        raise SystemExit("the three templates differ: one compact form is not enough")
    found = shared(templates[0])
    lines = [f"{json.dumps(name)}: {json.dumps(each, sort_keys=True)}" for name, each in found["definitions"].items()]
    head = f'"notice": {json.dumps(NOTICE)},\n"root": {json.dumps(found["root"], sort_keys=True)},\n'
    text = "{" + head + '"definitions": {\n' + ",\n".join(lines) + "\n}}\n"
    TARGET.write_text(text)
    print(f"wrote {TARGET.name}: {len(text)} bytes, {len(lines)} definitions")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
