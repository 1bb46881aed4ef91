"""What came out for one operation."""

from dataclasses import dataclass, field


@dataclass
class Verdict:
    """Address and method are the issue; findings are of the level `parameters`, for a reader to weigh."""

    path: bool
    method: bool
    findings: list = field(default_factory=list)
    # What of the document was compared with, for the report.
    found: str = ""
    # Client code shows an address and a method, and says nothing of parameters.
    parameters_checked: bool = True
    # How closely the address fits: segments that are equal to the letter count more.
    closeness: int = 0

    @property
    def agrees(self):
        return self.path and self.method
