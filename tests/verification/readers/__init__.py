"""One module for each format that vendors publish in; each turns a document into operations that can be compared."""
