"""From the figures of all rounds to ratios, and from these to the table."""

import math
import statistics


def rows(case, rounds):
    """One for each figure of a case; `rounds` is [{"tidegate": figures, "kafka": figures}]."""
    return [row for figure, goal in case.goals.items() if (row := _row(case.name, figure, goal, rounds))]


def _row(name, figure, goal, rounds):
    pairs = [(both["tidegate"][figure], both["kafka"][figure]) for both in rounds
             if all(_is_number(both.get(side, {}).get(figure)) for side in ("tidegate", "kafka"))]
    if not pairs:
        return None
    ratios = sorted(ours / theirs for ours, theirs in pairs if theirs)
    row = {"case": name, "figure": figure, "rounds": len(pairs),
           "tidegate": statistics.median(ours for ours, _ in pairs), "kafka": statistics.median(theirs for _, theirs in pairs)}
    if ratios:
        row |= {"min": ratios[0], "median": statistics.median(ratios), "max": ratios[-1], **_verdict(goal, ratios)}
    return row


def _verdict(goal, ratios):
    if goal is None:
        return {"goal": None, "met": None}
    bound, kind = goal
    median = statistics.median(ratios)
    return {"goal": f"{'>=' if kind == 'floor' else '<='} {bound:.3g}", "met": median >= bound if kind == "floor" else median <= bound}


def markdown(found):
    lines = ["| case | figure | Tidegate | Kafka | ratio: min | median | max | goal | |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |"]
    for row in found:
        verdict = {True: "met", False: "**missed**", None: ""}[row.get("met")]
        ratios = " | ".join(_short(row.get(key)) for key in ("min", "median", "max"))
        lines.append(f"| {row['case']} | {row['figure']} | {_short(row['tidegate'])} | {_short(row['kafka'])} | {ratios} | "
                     f"{row.get('goal') or ''} | {verdict} |")
    return "\n".join(lines)


def _short(value):
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _is_number(value):
    return isinstance(value, (int, float)) and math.isfinite(value)
