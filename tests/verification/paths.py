"""Whether two path templates name the same address. Parameter names may differ. A word of ours stands in for a parameter of
theirs only where documents.yaml lists it under `values`: our `/users/me` is their `/users/{user_id}`, and `/users/mee` is
not."""

import re

_PARAMETER = re.compile(r"\{[^{}]*\}")
_MARK = "\x00"


def split(path):
    """Segments without empty ones: vendors differ in whether a path ends with a slash."""
    path = path.split("#")[0].split("?")[0]
    return [segment for segment in path.split("/") if segment]


def fits(ours, theirs, values=()):
    """None if the templates differ, otherwise how many segments are equal to the letter: more is closer."""
    mine, published = split(ours), split(theirs)
    rest = bool(mine) and mine[-1].endswith("+}")
    if len(mine) != len(published) and not (rest and len(published) >= len(mine)):
        return None
    score = 0
    for own, other in zip(mine, published):
        own_marked = _PARAMETER.sub(_MARK, own)
        if _PARAMETER.sub(_MARK, other) == own_marked:
            score += 2 if _MARK not in own_marked else 1
        elif not (_MARK in own_marked or own in values) or not _covers(other, own_marked):
            return None
    return score


def _covers(template, value):
    """Whether a template with a parameter takes a segment, in which a parameter of ours is one character."""
    if not _PARAMETER.search(template):
        return False
    pattern = "".join("(.+)" if part is None else re.escape(part) for part in _parts(template))
    return re.fullmatch(pattern, value, re.DOTALL) is not None


def _parts(template):
    position = 0
    for found in _PARAMETER.finditer(template):
        yield template[position : found.start()]
        yield None
        position = found.end()
    yield template[position:]
