"""`python -m wherewhen` is the command `wherewhen`."""

from wherewhen.cli import main

raise SystemExit(main())
