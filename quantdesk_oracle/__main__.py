"""``python -m quantdesk_oracle`` is ``quantdesk-oracle``."""

from quantdesk_oracle.cli import main

main()
