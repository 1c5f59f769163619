"""The schema of systems in JSON: by hand, since `reach/spec.py` reads them entry by entry; a test compares the two."""

from typing import Any

from admm_verify.reach.controller_files import ACTIVATIONS
from admm_verify.reach.requirements import Kind
from admm_verify.reach.set_entries import KINDS, NORMS
from admm_verify.reach.spec import DESCRIPTIONS, HALF_SPACE, SCHEMA, VERSION
from admm_verify.reach.systems import MOST_STEPS
from admm_verify.schemas import document

Schema = dict[str, Any]

_ANY: Schema = {}
_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_NAME: Schema = {"type": "string", "minLength": 1}


def system_schema() -> Schema:
    """What `read_task` takes: one of four kinds of systems, each with all of its entries."""
    found = document(SCHEMA, {"oneOf": [_linear(), _discrete(), _continuous(), _network()]})
    found["description"] = (
        "A system in feedback: network controllers of x+ = A x + B u + c + E w (discrete_linear), x+ = f(x, u, w) "
        "(discrete) or x' = f(x, u) with u held over each period (continuous), or a network that maps the state to the "
        "next one (network). Numbers are "
        "taken exactly as their decimals say. Every object may have notes: note, notes, or NAME_note of an entry NAME. "
        "The files of controllers lie beside the JSON."
    )
    found["$defs"] = {
        "box": _object({"lower": _list(_NUMBER), "upper": _list(_NUMBER)}, {"kind": {"const": "box"}}),
        "set": {"oneOf": [_defined(kind) for kind in KINDS]},
        **_sets(),
        "open_box": _object(
            {"lower": _list(_optional(_NUMBER)), "upper": _list(_optional(_NUMBER))}, {"kind": {"const": "box"}}
        ),
        "matrix": _list(_list(_NUMBER)),
        "limits": _list({"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}),
        "within": _requirement([one.value for one in Kind], {"box": _defined("open_box")}, {"of": _list(_TEXT)}),
        "half_space": _requirement([HALF_SPACE], {"expr": _TEXT}, {}),
        "sampled": _object(
            {"lower": _defined("matrix"), "upper": _defined("matrix")},
            dict.fromkeys(("note", "t", "u_lower", "u_upper"), _ANY),
        ),
        "file": _controller({}),
        "held": _controller(_feedback()),
        "controller": _controller(_feedback() | {"sensor_noise": _defined("set")}),
    }
    return found


def _sets() -> dict[str, Schema]:
    """The kinds of sets beside boxes."""
    numbers, matrix = _list(_NUMBER), _defined("matrix")
    shape = {
        "ball": ({"center": numbers, "radius": {"anyOf": [_NUMBER, numbers]}}, {"norm": {"enum": list(NORMS)}}),
        "ellipsoid": ({"center": numbers, "shape": matrix}, {}),
        "polytope": ({"normals": matrix, "limits": numbers}, {"box": _defined("box")}),
        "zonotope": ({"center": numbers, "generators": matrix}, {}),
        "product": ({"sets": _list(_defined("set")) | {"minItems": 1}}, {}),
    }
    shape["ball"][1]["within"] = _defined("box")
    return {kind: _object({"kind": {"const": kind}, **needed}, more) for kind, (needed, more) in shape.items()}


def _linear() -> Schema:
    matrix = _defined("matrix")
    return _system(
        "controller",
        _dynamics(
            "discrete_linear",
            {"A": matrix, "B": matrix},
            {"c": _list(_NUMBER), "E": matrix, "process_noise": _defined("set")},
        ),
    )


def _discrete() -> Schema:
    dynamics = _equations("discrete", {"process_noise": _defined("set"), "onnx": _NAME})
    dynamics["required"].remove("equations")
    names = ["equations", "onnx"]
    either = {"anyOf": [{"required": [name]} for name in names], "not": {"required": names}}
    return _system("controller", dynamics | either, autonomous=True)


def _continuous() -> Schema:
    return _system("held", _equations("continuous", {}))


def _equations(kind: str, optional: Schema) -> Schema:
    pair = {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2}
    named = {"type": "object", "additionalProperties": _NUMBER}
    return _dynamics(kind, {"equations": _list(_TEXT)}, {"params": named, "let": _list(pair)} | optional)


def _network() -> Schema:
    return _system("file", _dynamics("network", {}, {}))


def _system(controller: str, dynamics: Schema, autonomous: bool = False) -> Schema:
    """autonomous: whether there may be no controller."""
    required: Schema = {}
    optional: Schema = {
        **dict.fromkeys(DESCRIPTIONS, _ANY),
        "schema": {"const": SCHEMA},
        "version": {"const": VERSION},
        "id": _TEXT,
        "state_dim": _NUMBER,
        "state_names": _list(_TEXT),
        "control_period": {"type": "number", "exclusiveMinimum": 0},
        "property": _list({"oneOf": [_defined("within"), _defined("half_space")]}),
        "sampled_inner_bounds": _defined("sampled"),
    }
    if controller != "file":
        optional["input_dim"] = _NUMBER
    (optional if autonomous else required)["controller"] = _defined(controller)
    required |= {
        "dynamics": dynamics,
        "initial_set": _defined("set"),
        "horizon_steps": {"type": "integer", "minimum": 1, "maximum": MOST_STEPS},
    }
    return _object(required, optional)


def _dynamics(kind: str, required: Schema, optional: Schema) -> Schema:
    return _object({"kind": {"const": kind}, **required}, optional)


def _controller(more: Schema) -> Schema:
    """Of arrays W0, b0, W1, .. in a .npz file, or an ONNX file."""
    own = {
        "npz": _NAME,
        "onnx": _NAME,
        "activations": _list({"enum": list(ACTIVATIONS)}),
        "layers": _list({"type": "integer", "minimum": 1}),
    }
    return _object({}, own | more) | {"anyOf": [{"required": ["npz"]}, {"required": ["onnx"]}]}


def _feedback() -> Schema:
    """How the network's inputs come of the state, and the plant's of its outputs."""
    spread = {"anyOf": [_NUMBER, _list(_NUMBER)]}
    limits = _defined("limits")
    return {
        "inputs": _list(_TEXT),
        "output_scale": spread,
        "output_offset": spread,
        "clip": limits,
        "u_limits": limits,
    }


def _requirement(kinds: list[str], what: Schema, more: Schema) -> Schema:
    return _object({"kind": {"enum": kinds}, **what}, {"t_from": _NUMBER, "t_to": _NUMBER, **more})


def _object(required: Schema, optional: Schema) -> Schema:
    """An object of these entries, with notes."""
    names = [*required, *optional]
    return {
        "type": "object",
        "properties": {"note": _TEXT, "notes": _TEXT} | required | optional,
        "patternProperties": {f"^({'|'.join(names)})_note$": _TEXT},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _optional(found: Schema) -> Schema:
    return {"anyOf": [found, {"type": "null"}]}


def _defined(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
