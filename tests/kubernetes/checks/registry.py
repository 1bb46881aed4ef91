"""Checks and what each must notice."""

CHECKS = []
BREAKS = []
# Those that look at nothing kustomize makes.
PLAIN = set()


def check(title, plain=False):
    """A function of the world that gives the problems it sees."""

    def register(function):
        CHECKS.append((title, function))
        if plain:
            PLAIN.add(function)
        return function

    return register


def notices(checked, what):
    """A function that breaks a copy of the world; `checked` must then see a problem."""

    def register(function):
        BREAKS.append((what, checked, function))
        return function

    return register
