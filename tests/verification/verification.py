"""Puts both sides together: a result for each operation of each connector."""

from dataclasses import dataclass
from typing import Optional

from .compare import compare
from .documents import DESCRIPTIONS, TEXTS
from .sources import Unavailable
from .verdict import Verdict

AGREES, EXPLAINED, DIFFERS, NO_DOCUMENT = "agrees", "explained", "differs", "no document"
# A text has the address, and no method near it: code may add it elsewhere.
ADDRESS_ONLY = "address only"


@dataclass
class Result:
    call: object
    status: str
    verdict: Optional[Verdict] = None
    document: object = None
    explanation: str = ""


@dataclass
class Checked:
    """One connector with what came out of it."""

    connector: object
    results: list
    error: str = ""

    @property
    def documents(self):
        return list({id(result.document): result.document for result in self.results if result.document}.values())

    @property
    def kinds(self):
        return list(dict.fromkeys(document.kind for document in self.documents))

    @property
    def described(self):
        """Whether a published document describes it, and not client code alone."""
        return any(kind in DESCRIPTIONS for kind in self.kinds)

    def count(self, status):
        return sum(result.status == status for result in self.results)


def check(connector, documents, explanations):
    try:
        published = documents.of(connector.key)
    except Unavailable as error:
        return Checked(connector, [Result(call, NO_DOCUMENT) for call in connector.calls], str(error))
    return Checked(connector, [_result(call, published, explanations) for call in connector.calls])


def _result(call, published, explanations):
    compared = compare(call, published)
    if compared is None:
        return Result(call, NO_DOCUMENT)
    verdict, document = compared
    if document.kind in TEXTS and not verdict.path:
        return Result(call, NO_DOCUMENT)
    if verdict.agrees:
        return Result(call, AGREES, verdict, document)
    if document.kind in TEXTS:
        return Result(call, ADDRESS_ONLY, verdict, document)
    explanation = explanations.of(call.connector, call.operation)
    return Result(call, EXPLAINED if explanation else DIFFERS, verdict, document, explanation or "")
