"""Client code of the vendor or of others: that it calls the same address by the same method. Weaker than a document: it
says nothing of parameters, and a method is believed when the word stands close to the address."""

import re

from ..paths import split
from ..verdict import Verdict

_PARAMETER = re.compile(r"\{[^{}]*\}")
# What code writes where a template has a parameter: {id}, ${id}, %s, :id, " + id + ", ' . $id . '
_HOLE = r"""[^\s"'`]{0,60}?(?:["'`]\s*[+.,]?\s*[\w.$\[\]>()\-'"]{1,60}?\s*[+.,]?\s*["'`])?[^\s"'`/]{0,60}?"""
_WINDOW = 600


def judge_with(texts, entry):
    prefix = split(entry.get("prefix", ""))

    def judge(call):
        segments = split(call.path)
        if segments[: len(prefix)] == prefix:
            segments = segments[len(prefix) :]
        # Names of accounts in a base address are not in code.
        while segments and re.fullmatch(r"\{account\.[^{}]*\}", segments[0]):
            segments = segments[1:]
        if call.method_in_body:
            return _method_name(call, texts)
        pattern = re.compile("/?".join(["(?<![A-Za-z0-9_.-])"] + ["/".join(_segment(segment) for segment in segments)]) + r"(?![\w-])")
        path, word = False, re.compile(rf"(?<![A-Za-z]){call.method}(?![a-z])|_{call.method}\b|\b{call.method}[A-Z_]", re.IGNORECASE)
        for text in texts:
            for hit in pattern.finditer(text):
                path = True
                if word.search(text[max(0, hit.start() - _WINDOW) : hit.end() + _WINDOW]):
                    return Verdict(True, True, found=f"{call.method} {hit.group(0)[:80]}", parameters_checked=False)
        return Verdict(path, False, parameters_checked=False)

    return judge


def _segment(segment):
    position, out = 0, ""
    for found in _PARAMETER.finditer(segment):
        out += re.escape(segment[position : found.start()]) + _HOLE
        position = found.end()
    return out + re.escape(segment[position:])


def _method_name(call, texts):
    name = re.compile(rf"(?<![\w.]){re.escape(call.method_in_body)}(?![\w])")
    hit = any(name.search(text) for text in texts)
    return Verdict(hit, hit, found=call.method_in_body if hit else "", parameters_checked=False)
