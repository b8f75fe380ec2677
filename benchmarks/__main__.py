"""`python -m benchmarks`: all figures, in one run."""

from __future__ import annotations

from benchmarks import decode, download, fit, inside, measuring, screen

print(
    f"decoding (aim: ratio 0.98): {', '.join(f'{what} {value:.3g}' for what, value in decode.measure().items())}",
    flush=True,
)
download.main()
fit.main()
inside.main()
measuring.main()
screen.main()
