"""Every check that a person would make, made at once: each with what was found, its cause and its cure.

Checks look and change nothing. They do not share the daemon's clients: what is asked here is asked as plainly as
possible, and every answer, also a wrong one, becomes a finding.
"""

from quantdesk_oracle.doctor.findings import Finding, Grade
from quantdesk_oracle.doctor.round import examine

__all__ = ["Finding", "Grade", "examine"]
