"""The style sheet of the page."""

CSS = """
:root { color-scheme: light; --ink: #1b2430; --soft: #5a6675; --line: #d9dfe5; --pale: #f5f7f9; --accent: #0b5394; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 0 28px 60px; max-width: 1160px; background: #fff; color: var(--ink);
  overflow-wrap: break-word;
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 28px 0 4px; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 44px 0 10px; padding-top: 10px; border-top: 2px solid var(--ink); }
h3 { font-size: 1.02rem; margin: 26px 0 6px; }
p { margin: 8px 0; max-width: 78ch; }
.lead { color: var(--soft); margin: 0 0 12px; font-size: 1.05rem; }
.banner { margin: 0 -28px; padding: 14px 28px; font-size: 1.02rem; }
.banner strong { display: block; font-size: 1.35rem; letter-spacing: .02em; }
.phantom { background: #ffd23f; color: #1b1500; border: 4px solid #1b1500; border-width: 4px 0;
  border-image: repeating-linear-gradient(-45deg, #1b1500 0 14px, #ffd23f 14px 28px) 8; border-image-width: 8px 0;
  padding: 22px 28px; }
.real { background: #e4f1ea; border-bottom: 2px solid #1f7a4d; }
.stamp { display: inline-block; background: #ffd23f; color: #1b1500; font-weight: 700; padding: 0 7px;
  border: 1px solid #1b1500; margin-right: 6px; }
nav { display: flex; flex-wrap: wrap; font-size: .92rem; color: var(--soft); margin: 14px 0 0; }
nav a { margin-right: 16px; white-space: nowrap; }
a { color: var(--accent); }
.note { border-left: 5px solid #d55e00; background: #fdf3ec; padding: 8px 14px; margin: 8px 0; max-width: none; }
.scroll { overflow-x: auto; margin: 10px 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; min-width: 60%; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid var(--ink); vertical-align: bottom; }
th, td { padding: 6px 9px; }
th:first-child, td:first-child { padding-left: 0; }
td { border-bottom: 1px solid var(--line); vertical-align: top; }
tbody th { border-bottom: 1px solid var(--line); vertical-align: top; }
.number { text-align: right; white-space: nowrap; }
th.number { white-space: normal; }
.right td:first-child { min-width: 10.5em; }
.right thead th:nth-child(n+2) { text-align: right; }
.results { width: 100%; }
.results td { white-space: nowrap; }
.extras { white-space: normal; overflow-wrap: anywhere; max-width: 19em; font-size: .86em; color: var(--soft); }
.results .reference td { background: var(--pale); }
.results .first td { border-top: 2px solid #9aa5b1; }
.results .loss { color: var(--soft); padding-left: 6px; }
.verdict { display: inline-block; border-radius: 4px; padding: 0 8px; font-weight: 600; border: 1.5px solid;
  white-space: nowrap; }
.non-inferior { color: #00553d; background: #dff3ec; border-color: #009e73; }
.inferior { color: #8a2f00; background: #fce6d8; border-color: #d55e00; }
.inconclusive { color: #4c4a1f; background: #f6f3d3; border-color: #b3a300; }
.reference-row { color: var(--soft); background: #fff; border-color: var(--line); font-weight: 400; }
.soft { color: var(--soft); }
.scores td, .layers td { padding-top: 3px; padding-bottom: 3px; font-size: .86rem; }
.layers td { overflow-wrap: anywhere; }
.layers { width: 100%; }
code { font-family: ui-monospace, "SF Mono", Consolas, "Liberation Mono", monospace;
  font-size: .88em; overflow-wrap: anywhere; }
figure { margin: 14px 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .92rem; color: var(--soft); margin-top: 6px; max-width: 100ch; }
details { margin: 8px 0; }
summary { cursor: pointer; color: var(--accent); }
dl { display: grid; grid-template-columns: minmax(130px, max-content) 1fr; gap: 6px 22px; margin: 10px 0; }
dt { font-weight: 600; }
dd { margin: 0; max-width: 82ch; overflow-wrap: anywhere; }
ul { margin: 4px 0 8px; padding-left: 22px; }
li { margin: 2px 0; }
footer { margin-top: 50px; padding-top: 10px; border-top: 1px solid var(--line);
  color: var(--soft); font-size: .88rem; }
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  .banner { margin: 0; }
  nav { display: none; }
  .scroll { overflow: visible; }
  table { font-size: 8.6pt; }
  th, td { padding: 3px 5px; }
  h2, h3, summary { break-after: avoid; }
  figure, tr, .note, dl > dt { break-inside: avoid; }
  .banner, .stamp, .verdict, .note, .results td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
@page { margin: 14mm; }
"""
