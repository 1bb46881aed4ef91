"""The committed record of a run: report.tsv has a line for each operation, report.md one for each connector and the totals."""

from pathlib import Path

from .documents import DESCRIPTIONS
from .verification import ADDRESS_ONLY, AGREES, DIFFERS, EXPLAINED, NO_DOCUMENT

FOLDER = Path(__file__).parent
FILES = (FOLDER / "report.tsv", FOLDER / "report.md")
_COLUMNS = ("connector", "operation", "status", "path", "method", "parameters", "kind", "document", "document_version", "found_there", "explanation", "findings")
_BASIS = {"specification": "the vendor's document, none to check against here", "documentation": "docs", "client_code": "client code of others, by hand"}
_HEAD = """# Manifests against published documents

Written by `tests/catalog-verify --report`; not edited by hand. A line for each operation is in report.tsv.

Kinds: `openapi` (OpenAPI or Swagger), `discovery` (Google), `graphql` (a schema, the example's query is validated against
it), `methods` (a list of RPC methods in the vendor's own format), `proto` (Protocol Buffers with HTTP bindings) and `stone`
(Dropbox) describe an API. `documentation` (pages, as text) and `client_code` are weaker: the address occurs in them with the
method near it, or alone where code adds the method elsewhere; parameters are not checked, and what they lack is "without a
document". "Published by": `vendor` (its own repository or package), `collection` (collected from the vendor's site by others,
such as APIs.guru), `others` (a copy that somebody keeps, or client code that is not the vendor's). "Obtained": a document
marked `local snapshot` could not be downloaded where the report was made and was read from a copy of its repository at the
same commit.

"Parameters" counts operations whose parameters, body and example raise no finding, of those that could be checked. Findings
are no differences in address or method: documents are often incomplete or older than the API.
"""


def basis(one):
    return _BASIS.get(one.connector.how, one.connector.how)


def totals(checked):
    described = [one for one in checked if one.described]
    code = [one for one in checked if one.kinds and not one.described]
    results = [result for one in checked for result in one.results]
    verdicts = [result.verdict for result in results if result.verdict and result.verdict.agrees and result.verdict.parameters_checked]
    return "\n".join(
        [
            f"{len(described)} connectors checked against a published document{_per_kind(described)}, {len(code)} against documentation pages or client code alone, {len(checked) - len(described) - len(code)} not checked",
            f"{len(results)} operations: {_count(results, AGREES)} agree, {_count(results, ADDRESS_ONLY)} by their address alone, {_count(results, EXPLAINED)} differ and are explained, {_count(results, DIFFERS)} differ unexplained, {_count(results, NO_DOCUMENT)} without a document",
            f"parameters: {sum(not verdict.findings for verdict in verdicts)} of {len(verdicts)} operations raise no finding, {sum(len(verdict.findings) for verdict in verdicts)} findings",
        ]
    )


def _per_kind(described):
    counts = ", ".join(f"{kind} {count}" for kind in DESCRIPTIONS if (count := sum(kind in one.kinds for one in described)))
    return f" ({counts})" if counts else ""


def _count(results, status):
    return sum(result.status == status for result in results)


def write(checked):
    rows = [_row(result) for one in checked for result in one.results]
    FILES[0].write_text("".join("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row) + "\n" for row in [_COLUMNS, *rows]), encoding="utf-8")
    FILES[1].write_text(_summary(checked), encoding="utf-8")


def _row(result):
    call, verdict, document = result.call, result.verdict, result.document
    if verdict is None:
        return [call.connector, call.operation, result.status, "", "", "", "", "", "", "", "", ""]
    yes = {True: "found", False: "not found"}
    if not verdict.agrees or not verdict.parameters_checked:
        parameters = ""
    else:
        parameters = f"{len(verdict.findings)} findings" if verdict.findings else "ok"
    return [call.connector, call.operation, result.status, yes[verdict.path], yes[verdict.method], parameters, document.kind, document.label, document.version, verdict.found, result.explanation, "; ".join(verdict.findings if verdict.agrees else [])]


def _summary(checked):
    lines = [_HEAD, "## Totals", "", *(f"- {line}" for line in totals(checked).splitlines()), "", "## Connectors", ""]
    lines += ["| connector | kind | published by | document | operations | path found | method found | parameters ok | explained | obtained |", "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"]
    lines += [_line(one) for one in checked if one.kinds]
    lines += ["", "## Not checked", "", "No document was found in a registry or a public repository. What the manifests rest on:", "", "| connector | operations | rests on |", "| --- | ---: | --- |"]
    lines += [f"| {one.connector.key} | {len(one.results)} | {basis(one)} |" for one in checked if not one.kinds]
    return "\n".join(lines) + "\n"


def _line(one):
    verdicts = [result.verdict for result in one.results if result.verdict]
    checked = [verdict for verdict in verdicts if verdict.agrees and verdict.parameters_checked]
    parameters = f"{sum(not verdict.findings for verdict in checked)} of {len(checked)}" if checked else "not checked"
    uncovered = one.count(NO_DOCUMENT)
    operations = f"{len(one.results)}" + (f" ({uncovered} without a document)" if uncovered else "")
    return f"| {one.connector.key} | {', '.join(one.kinds)} | {', '.join(dict.fromkeys(document.publisher for document in one.documents))} | {_documents(one)} | {operations} | {sum(verdict.path for verdict in verdicts)} | {sum(verdict.agrees for verdict in verdicts)} | {parameters} | {one.count(EXPLAINED)} | {', '.join(dict.fromkeys(document.obtained for document in one.documents))} |"


def _documents(one):
    """Sources with their files; commits are cut, documents.yaml has them whole."""
    by_source = {}
    for document in one.documents:
        source, _, path = document.label.partition(" ")
        by_source.setdefault(source, []).append(path.rsplit("/", 1)[-1] + (f" ({document.version[:24]})" if document.version else ""))
    return "; ".join(f"{_short(source)} {', '.join(paths[:4])}{' …' if len(paths) > 4 else ''}" for source, paths in by_source.items())


def _short(source):
    name, _, version = source.rpartition("@")
    return f"{name}@{version[:10]}" if name.startswith("github:") else source
