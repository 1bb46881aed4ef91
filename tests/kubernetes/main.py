"""Runs every check, and every check once more on something broken."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from checks.registry import BREAKS, CHECKS, PLAIN
from checks.world import Skip, read

# Whoever is imported registers its checks.
for module in sorted((Path(__file__).parent / "checks").glob("[a-z]*.py")):
    import_module(f"checks.{module.stem}")


def seen(world, function):
    """The problems, or why it cannot be said."""
    try:
        return function(world), None
    except Skip as why:
        return [], str(why)


def noticed(world, checked, function):
    broken = copy.deepcopy(world)
    function(broken)
    return seen(broken, checked)


def say(word, title, problems=()):
    print(f"{word} kubernetes: {title}", *(f"     {problem}" for problem in problems[:20]), sep="\n", flush=True)


def main():
    world, why = read()
    if why:
        say("SKIP", f"all that is rendered: {why}")
    else:
        say("PASS", f"kustomize renders {', '.join(world.rendered)}")
    good, found = True, {}
    # Most of the time goes to programs that are waited for.
    with ThreadPoolExecutor(2) as pool:
        looks = [
            (title, function, pool.submit(seen, world, function))
            for title, function in CHECKS
            if function in PLAIN or not why
        ]
        breaks = [
            (what, checked, pool.submit(noticed, world, checked, function))
            for what, checked, function in BREAKS
            if checked in PLAIN or not why
        ]
        for title, function, look in looks:
            found[function], skipped = look.result()
            good = good and not found[function]
            say(
                "SKIP" if skipped else "FAIL" if found[function] else "PASS",
                f"{title}: {skipped}" if skipped else title,
                found[function],
            )
        for what, checked, look in breaks:
            problems, skipped = look.result()
            # What was wrong before is not what was broken now.
            fine = set(problems) - set(found[checked])
            good = good and bool(fine or skipped)
            if skipped:
                say("SKIP", f"notices {what}: {skipped}")
            else:
                say("PASS" if fine else "FAIL", f"{'notices' if fine else 'does not notice'} {what}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
