"""Everything that a network and a node can do to a client, on purpose and repeatable: see docs/localnet.md."""

from quantdesk_oracle.localnet.faults.drill import Drill
from quantdesk_oracle.localnet.faults.kinds import Kind
from quantdesk_oracle.localnet.faults.schedule import Fault, Schedule, load_schedule, parse_schedule

__all__ = ["Drill", "Fault", "Kind", "Schedule", "load_schedule", "parse_schedule"]
