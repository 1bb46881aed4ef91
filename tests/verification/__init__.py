"""Checks the connectors' manifests against API documents that others have published.

`tests/catalog-verify` runs it. Which document belongs to which connector stands in documents.yaml, what is known to differ
and why in explanations.yaml, what came out in report.tsv and report.md.
"""
