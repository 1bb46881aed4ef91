"""Their side of the comparison: what a published document says, whatever format it is written in."""

from dataclasses import dataclass, field
from typing import Callable, Optional


@dataclass
class Parameter:
    name: str
    where: str
    required: bool
    schema: dict


@dataclass
class Details:
    """What a document says of one operation beyond address and method."""

    parameters: list = field(default_factory=list)
    body: Optional[dict] = None
    body_required: bool = False
    # False: the document does not describe bodies or parameters, so that nothing can be said of ours.
    describes_parameters: bool = True
    describes_body: bool = True


@dataclass
class PublishedOperation:
    method: str
    path: str
    # Read only for the operations that ours are compared with: some documents have thousands.
    details: Callable[[], Details]


@dataclass
class Document:
    """A published document, read."""

    label: str
    kind: str
    version: str
    # How it came here, and whose it is: see report.py.
    obtained: str
    publisher: str
    operations: list
    modules: Optional[list] = None
    # Words of ours that stand in for parameters of its addresses.
    values: tuple = ()
    # How a GraphQL schema or client code judges a call; documents with operations leave it out.
    judge: Optional[Callable] = None

    def covers(self, module):
        return self.modules is None or module in self.modules
