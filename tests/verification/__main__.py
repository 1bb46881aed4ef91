"""The command: see `tests/catalog-verify --help`."""

import argparse
import sys

from . import manifests, report, self_test
from .documents import Documents
from .explanations import Explanations
from .sources import Unavailable
from .verification import ADDRESS_ONLY, AGREES, DIFFERS, EXPLAINED, check

_DESCRIPTION = """Compares every operation of the manifests with the API document that somebody else has published of the service:
is the address there, does it take the method, are the parameters and the body what the document says. Documents come from
npm, PyPI and public repositories, in the versions that tests/verification/documents.yaml pins; they are kept under
.tools/verify and never committed."""
_EPILOG = """Exit code: 0 all differences in address or method are explained, 1 some are not (or a document is missing, or an
explanation explains nothing), 2 the command cannot run."""


def main():
    options = _options()
    if options.self_test:
        return 0 if self_test.run() else 1
    clones = dict(clone.split("=", 1) for clone in options.clone)
    try:
        connectors = manifests.load(options.connector)
        documents, explanations = Documents(options.offline, clones), Explanations()
    except (LookupError, ValueError, Unavailable, OSError) as error:
        print(f"catalog-verify: {error}", file=sys.stderr)
        return 2
    checked = []
    for connector in connectors:
        one = check(connector, documents, explanations)
        checked.append(one)
        _print(one, options.verbose)
    unused = explanations.unused([connector.key for connector in connectors])
    for name in unused:
        print(f"explanations.yaml explains what is no difference: {name}", file=sys.stderr)
    print(report.totals(checked))
    if options.report and any(one.error for one in checked):
        print("the report was not written: some documents could not be had", file=sys.stderr)
    elif options.report:
        report.write(checked)
        print(f"written: {', '.join(str(path.relative_to(report.FOLDER.parents[1])) for path in report.FILES)}")
    return 1 if unused or any(one.error or one.count(DIFFERS) for one in checked) else 0


def _options():
    parser = argparse.ArgumentParser(prog="tests/catalog-verify", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--connector", metavar="KEY", action="append", default=[], help="only this connector; may be repeated")
    parser.add_argument("--offline", action="store_true", help="download nothing, use what is kept under .tools/verify")
    parser.add_argument("--report", action="store_true", help="rewrite tests/verification/report.tsv and report.md")
    parser.add_argument("--clone", metavar="OWNER/REPO=GITDIR", action="append", default=[], help="read the documents of a repository from a git directory on this machine; may be repeated")
    parser.add_argument("--verbose", action="store_true", help="show findings on parameters and bodies too")
    parser.add_argument("--self-test", action="store_true", help="check the comparison itself with made-up documents")
    options = parser.parse_args()
    if options.report and options.connector:
        parser.error("--report is about all connectors, leave out --connector")
    if any("=" not in clone for clone in options.clone):
        parser.error("--clone is OWNER/REPO=GITDIR")
    return options


def _print(one, verbose):
    if one.error:
        print(f"{one.connector.key}: not checked: {one.error}", file=sys.stderr)
        return
    key, kinds = one.connector.key, "+".join(one.kinds) or f"no document ({report.basis(one)})"
    print(f"{key}: {kinds}, {len(one.results)} operations, {one.count(AGREES)} agree, {one.count(ADDRESS_ONLY)} by address alone, {one.count(EXPLAINED)} explained, {one.count(DIFFERS)} differ")
    for result in one.results:
        if result.status == DIFFERS:
            what = "method" if result.verdict.path else "path"
            print(f"  {what} not found: {result.call.operation}: {result.call.method} {result.call.path}" + (f" (the document has {result.verdict.found})" if result.verdict.found else ""))
        elif verbose and result.verdict and result.verdict.findings:
            print(f"  {result.call.operation} ({result.verdict.found})")
            for finding in result.verdict.findings:
                print(f"    {finding}")


sys.exit(main())
