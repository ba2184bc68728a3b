"""The results of a run as tables in Markdown."""

import statistics
from typing import Any

Result = dict[str, Any]


def tables(results: list[Result]) -> str:
    """A table for every group and number of threads, and one of two threads against one."""
    text = []
    for result in results:
        limits, threads = result["limits"], result["threads"]
        peak = f", {limits['gflops']:.0f} GFLOP/s at most a core" if limits else ""
        text.append(
            f"### {result['group'].capitalize()}, {threads} thread{'s' if threads > 1 else ''}\n\n"
            f"{result['machine']['processor']}, {result['machine']['instruction_set']}{peak}.\n"
        )
        text.append(_table(result))
    scaling = _scaling(results)
    return "\n".join(text + ([scaling] if scaling else [])) + "\n"


def _rows(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _table(result: Result) -> str:
    lines = result["lines"]
    stepping = result["group"] == "stepping"
    peers = list(lines[0]["ratio"])
    unit = "µs" if stepping else "ms"
    header = ["point", f"Noria, {unit}"]
    header += ["read, GB/s", "of the cache's"] if stepping else ["GFLOP/s", "of the peak"]
    header += [f"{peer}, times as long" for peer in peers]
    rows = []
    for line in lines:
        spent = line["ms"]["noria"]
        row = [line["point"], f"{1e3 * spent if stepping else spent:.3g}"]
        if stepping:
            row += [f"{line['read_gb_per_s']:.1f}", _percent(line.get("share_of_bandwidth"))]
        else:
            row += [f"{line['gflops']:.1f}", _percent(line.get("share_of_peak"))]
        rows.append(row + [f"{line['ratio'][peer]:.2f}" for peer in peers])
    for name in dict.fromkeys(line.get("cell", "") for line in lines):
        own = [line["ratio"] for line in lines if line.get("cell", "") == name]
        means = [statistics.geometric_mean(ratio[peer] for ratio in own) for peer in peers]
        least = [min(ratio[peer] for ratio in own) for peer in peers]
        title = f"geometric mean {name}".strip()
        if not stepping:
            rows.append([f"**{title}**", "", "", "", *(f"**{mean:.2f}**" for mean in means)])
            rows.append([f"least {name}".strip(), "", "", "", *(f"{value:.2f}" for value in least)])
    return _rows(header, rows)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _scaling(results: list[Result]) -> str:
    """Two threads against one, where both were timed."""
    times = {
        (result["group"], line["point"], result["threads"]): line["ms"]["noria"]
        for result in results
        for line in result["lines"]
    }
    rows = [
        [group, point, f"{spent / times[group, point, 2]:.2f}"]
        for (group, point, threads), spent in times.items()
        if threads == 1 and (group, point, 2) in times
    ]
    if not rows:
        return ""
    return "### Two threads\n\n" + _rows(["group", "point", "times as fast as one"], rows)
