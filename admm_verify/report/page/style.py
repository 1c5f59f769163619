"""The style sheet of a page."""

STYLE = """
:root { color-scheme: light; --ink: #1c2530; --quiet: #55606d; --line: #d8dee5; --back: #fff; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem 1.25rem 3rem; color: var(--ink); background: var(--back);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.5rem 0 0.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; padding-top: 0.75rem; border-top: 1px solid var(--line); }
p { margin: 0.4rem 0; max-width: 46rem; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); }
.stopped { border-left: 4px solid #D55E00; background: #fdf3ec; padding: 0.5rem 0.75rem; }
.tiles { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 1rem 0 0; padding: 0; list-style: none; }
.tiles li { flex: 1 1 8.5rem; border: 1px solid var(--line); border-radius: 6px; padding: 0.5rem 0.75rem; }
.tiles strong { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.curves { display: block; width: 100%; max-width: 42rem; height: auto; font-size: 14px; fill: var(--ink); }
.curves text { fill: var(--ink); }
.curves .grid { stroke: var(--line); } .curves .tick { stroke: var(--quiet); }
.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; list-style: none; padding: 0; margin: 0.5rem 0; }
.legend .key { width: 36px; height: 16px; vertical-align: -2px; margin-right: 0.4rem; }
.frame { overflow-x: auto; margin: 0.75rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
caption { text-align: left; color: var(--quiet); padding-bottom: 0.25rem; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; font-weight: 600; min-width: 4.5rem; max-width: 20rem;
  white-space: normal; overflow-wrap: break-word; }
thead th { color: var(--quiet); font-weight: 600; vertical-align: bottom; }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 23rem), 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: 0.85rem; color: var(--quiet); overflow-wrap: anywhere; }
.panels { display: flex; gap: 4px; } .panels img { image-rendering: pixelated; border: 1px solid var(--line);
  max-width: calc(33.3% - 3px); height: auto; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f6f8; padding: 0.5rem 0.75rem; border-radius: 6px;
  font-size: 0.85rem; }
code { overflow-wrap: anywhere; font-size: 0.85em; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } .frame { overflow: visible; }
  figure, tr, .tiles li, svg { break-inside: avoid; } h2 { break-after: avoid; } }
"""
