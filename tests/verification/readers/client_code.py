"""Client code and documentation pages, as text: that they name the same address and the same method. Weaker than a
description: it says nothing of parameters, and a method is believed when the word stands close to the address. What such a
text lacks is no difference, since it need not cover an API."""

import re

from ..paths import split
from ..verdict import Verdict

_PARAMETER = re.compile(r"\{[^{}]*\}")
# What code and pages write where a template has a parameter: {id}, ${id}, #{id}, <id>, %s, :id, a number, or the end of a
# string and something that is added: " + id + ", ' . $id . '
_HOLE = r"""(?:[$#]?\{[^{}]*\}|<[\w. -]+>|%[sdv]|:\w+|\d[\w-]*|["'`]\s*[+.,]\s*[^"'`\n]{1,60}?\s*(?:[+.,]\s*["'`]|(?=[);\n])))"""
# An address that goes on is another one, in the same string or after it, but for a query that is put behind it.
_END = r"""(?![\w/-]|(?!\$\{[^}]*[Qq]uery)[$#]?\{|%[sdv]|["'`]\s*(?:\+\s*[\w$(]|\.\s*\$|\.\s+\w))"""
_WINDOW = 600


def judge_with(texts, entry):
    """`below_base`: the code adds the module's base address elsewhere, so that only what follows it is looked for."""

    def judge(call):
        if call.method_in_body:
            return _method_name(call.method_in_body, texts)
        if call.named_in_body and not _method_name(call.named_in_body, texts).path:
            return Verdict(False, False, parameters_checked=False)
        segments = split(call.path_below_base if entry.get("below_base") else call.path)
        # Names of accounts in an address are not in code.
        while segments and re.fullmatch(r"\{account\.[^{}]*\}", segments[0]):
            segments = segments[1:]
        pattern = re.compile(r"(?<![A-Za-z0-9_.-])/?" + "/".join(_segment(segment) for segment in segments) + "/?" + _END)
        word = re.compile(rf"(?<![A-Za-z]){call.method}(?![a-z])|_{call.method}\b", re.IGNORECASE)
        found = False
        for text in texts:
            for hit in pattern.finditer(text):
                found = True
                if word.search(text[max(0, hit.start() - _WINDOW) : hit.end() + _WINDOW]):
                    return Verdict(True, True, found=" ".join(filter(None, [call.method, hit.group(0)[:80], call.named_in_body])), parameters_checked=False)
        return Verdict(found, False, parameters_checked=False)

    return judge


def _segment(segment):
    position, out = 0, ""
    for found in _PARAMETER.finditer(segment):
        out += re.escape(segment[position : found.start()]) + _HOLE
        position = found.end()
    return out + re.escape(segment[position:])


def _method_name(name, texts):
    word = re.compile(rf"(?<![\w.]){re.escape(name)}(?![\w])")
    hit = any(word.search(text) for text in texts)
    return Verdict(hit, hit, found=name if hit else "", parameters_checked=False)
