"""Recipe: all that is done to a network, as a value that prints and parses.

    w4a4 adaptive smooth(alpha=0.5)+svd(rank=4) keep(decoder.*) at8(encoder.0.*) calib(8) input(8)

Bits first, then the policy, then the format where values do not lie on integers, the transforms in the order in which
they are applied, what is kept in float, what is held at 8 bits, the number of calibration cases, and the bits of the
image where they differ from the layers'. ``fp32`` is the reference; ``mxfp4`` is short for ``w4a4 block mxfp4``,
``w4a16 nf4`` for ``w4a16 block nf4``. This floor knows the grammar only; which policies and transforms exist is known
to ``medquanbench.quant``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

from medquanbench.values.errors import RequestError, not_found

FLOAT_BITS = 16
"""The bit width that stands for "left in float" in wNaM."""

_BITS = re.compile(r"w([0-9]{1,4})a([0-9]{1,4})")
_NUMBER = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_TERM = re.compile(r"([a-z][a-z0-9_-]*)(?:\(([^()]*)\))?")
_BETWEEN_TERMS = re.compile(r"\+(?![^(]*\))")  # a + outside brackets: svd(rank=1e+1) is one term
_KEY, _VALUE = re.compile(r"[^\s(),=]+"), re.compile(r"[^\s(),]+")
_WORDS = ("keep", "at8", "calib", "input")  # the recipe's own, so no step can have these names
FORMATS = {
    "mxint8": 8, "mxfp8": 8, "mxfp8-e5m2": 8, "mxfp6": 6, "mxfp6-e3m2": 6, "mxfp4": 4, "nvfp4": 4, "nf4": 4,
    "benford": 4,
}  # fmt: skip
"""Names of formats, and bits of a value; they are words of the grammar, so that no policy or step can have them."""
WEIGHT_FORMATS = ("nf4", "benford")
"""Formats of weights alone."""
BLOCK = "block"
"""The policy of tensors that a format holds in blocks."""
_GRAMMAR = "e.g. 'w4a4 adaptive', 'w8a8 per-tensor keep(decoder.*)', 'fp32'"


@dataclass(frozen=True)
class Term:
    """One named step with its parameters, ``smooth(alpha=0.5)``; parameters keep their order and their text."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in (*_WORDS, *FORMATS):
            raise RequestError(f"'{self.name}' is no name of a step like smooth or svd(rank=4)")
        if not all(_KEY.fullmatch(key) and _VALUE.fullmatch(value) for key, value in self.parameters):
            raise RequestError(f"'{self}' needs name=value in its brackets, without spaces, commas or brackets in them")
        if len({key for key, _ in self.parameters}) < len(self.parameters):
            raise RequestError(f"'{self}' gives a parameter twice")

    def __str__(self) -> str:
        if not self.parameters:
            return self.name
        return f"{self.name}({','.join(f'{key}={value}' for key, value in self.parameters)})"


def _check_globs(globs: tuple[str, ...], what: str) -> None:
    for place, glob in enumerate(globs):
        if glob in globs[:place]:
            raise RequestError(f"'{glob}' is {what} twice")
        if not glob or re.search(r"[\s,()]", glob):
            raise RequestError(f"'{glob}' is no module path or glob; it may hold no space, comma or bracket")


def check_bits(bits: int, text: str) -> None:
    if not (2 <= bits <= 8 or bits == FLOAT_BITS):
        raise RequestError(f"'{text}' asks for {bits} bits; there are 2 to 8, and {FLOAT_BITS} for float")


@dataclass(frozen=True)
class Recipe:
    """All that is done to a network. ``Recipe.parse(str(recipe)) == recipe``.

    Attributes:
        weight_bits, activation_bits: 2..8, or 16 for float.
        policy: name of the policy; None where there is none to choose (the reference).
        observer: name of how static ranges are chosen from calibration; None as the policy has it.
        format: name of what holds weights, and activations too unless it is one of weights alone; None for integers.
        transforms: rewrites of the float network, applied left to right.
        keep: globs over module paths that stay in float (``*`` crosses dots).
        at8: globs over module paths whose weights and inputs are held at 8 bits, where the others have fewer.
        calibration: number of calibration cases, or None.
        input_bits: bits of the image that enters the first layer; None as the layers'.
    """

    weight_bits: int = FLOAT_BITS
    activation_bits: int = FLOAT_BITS
    policy: str | None = None
    transforms: tuple[Term, ...] = ()
    keep: tuple[str, ...] = ()
    calibration: int | None = None
    input_bits: int | None = None
    format: str | None = None
    observer: str | None = None
    at8: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_bits(self.weight_bits, f"w{self.weight_bits}")
        check_bits(self.activation_bits, f"a{self.activation_bits}")
        if self.policy is None and any(getattr(self, field.name) != field.default for field in fields(self)):
            raise RequestError(f"a recipe that is not the reference needs a policy; {_GRAMMAR}")
        if self.policy is not None and not _NAME.fullmatch(self.policy):
            raise RequestError(f"'{self.policy}' is no name of a policy; {_GRAMMAR}")
        if self.input_bits is not None:
            check_bits(self.input_bits, f"input({self.input_bits})")
        if self.calibration is not None and self.calibration < 1:
            raise RequestError(f"'calib({self.calibration})' asks for {self.calibration} cases; at least 1 is needed")
        if self.observer is not None and (self.calibration is None or not _NAME.fullmatch(self.observer)):
            raise RequestError(f"'{self.observer}' is no observer of calibration cases, as in calib(8,percentile)")
        self._check_format()
        _check_globs(self.keep, "kept")
        _check_globs(self.at8, "held at 8 bits")
        if self.at8 and (self.format is not None or min(self.weight_bits, self.activation_bits) >= 8):
            what = self.format or f"w{self.weight_bits}a{self.activation_bits}"
            raise RequestError(
                f"at8({','.join(self.at8)}) holds layers at 8 bits among integers of fewer, not in {what}"
            )

    @property
    def raised(self) -> Recipe:
        """The recipe of the layers that ``at8`` names: 8 bits where the others have fewer, for the image too."""
        image = None if self.input_bits is None else max(8, self.input_bits)
        weight, activation = max(8, self.weight_bits), max(8, self.activation_bits)
        return replace(self, weight_bits=weight, activation_bits=activation, input_bits=image, at8=())

    def _check_format(self) -> None:
        """Raises RequestError where format, bits and policy do not go together."""
        if self.format is None:
            if self.policy == BLOCK:
                raise RequestError(f"the policy {BLOCK} needs a format; there is: {', '.join(FORMATS)}")
            return
        if self.format not in FORMATS:
            raise not_found("format", self.format, "recipes", list(FORMATS))
        bits, asked = FORMATS[self.format], {self.weight_bits}
        if self.format not in WEIGHT_FORMATS:
            asked |= {self.activation_bits}
            if self.policy != BLOCK:
                raise RequestError(f"{self.format} holds activations in blocks, so that its policy is {BLOCK}")
        elif self.policy == BLOCK and self.activation_bits != FLOAT_BITS:
            raise RequestError(f"{self.format} holds weights alone: name the activations' policy, or wNa{FLOAT_BITS}")
        if not asked <= {bits, FLOAT_BITS}:
            raise RequestError(f"{self.format} has {bits} bits, not w{self.weight_bits}a{self.activation_bits}")

    @property
    def is_reference(self) -> bool:
        """True for the float network as it came."""
        return self.policy is None

    @property
    def precision(self) -> str:
        """``FP32``, ``W4A4``, ``MXFP4`` or ``W4A16 NF4``, as reports print it."""
        if self.is_reference:
            return "FP32"
        bits = f"W{self.weight_bits}A{self.activation_bits}"
        if self.format is None:
            return bits
        whole = self.format not in WEIGHT_FORMATS and self.weight_bits == self.activation_bits
        return self.format.upper() if whole else f"{bits} {self.format.upper()}"

    @property
    def transform(self) -> str:
        """The transforms as text, ``-`` where there are none."""
        return "+".join(map(str, self.transforms)) or "-"

    def __str__(self) -> str:
        if self.is_reference:
            return "fp32"
        words = [f"w{self.weight_bits}a{self.activation_bits}", str(self.policy)]
        words += [self.format] if self.format else []
        if self.transforms:
            words.append(self.transform)
        if self.keep:
            words.append(f"keep({','.join(self.keep)})")
        if self.at8:
            words.append(f"at8({','.join(self.at8)})")
        if self.calibration is not None:
            words.append(f"calib({','.join(filter(None, (str(self.calibration), self.observer)))})")
        if self.input_bits is not None:
            words.append(f"input({self.input_bits})")
        return " ".join(words)

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read a recipe from its text; case and the order of ``keep``, ``at8``, ``calib`` and ``input`` do not matter.

        Raises:
            RequestError: the text is no recipe; the message says which word, and what is expected.
        """
        words = text.split()
        if [word.lower() for word in words] == ["fp32"]:
            return cls()
        words = _written_out(words)
        bits = _BITS.fullmatch(words[0].lower()) if words else None
        if bits is None:
            raise RequestError(f"'{text}' is no recipe: it must begin with wNaM or be fp32; {_GRAMMAR}")
        if len(words) < 2 or not _NAME.fullmatch(words[1].lower()):
            raise RequestError(f"'{text}' is no recipe: a policy must follow '{words[0]}'; {_GRAMMAR}")
        rest = words[2:]
        form = rest.pop(0).lower() if rest and rest[0].lower() in FORMATS else None
        parts, policy = _parse_rest(rest, text), words[1].lower()
        return cls(
            int(bits[1]), int(bits[2]), policy, parts.transforms, parts.keep, parts.calib, parts.input, form,
            parts.observer, parts.at8,
        )  # fmt: skip


def _written_out(words: list[str]) -> list[str]:
    """The words with what the short forms leave out: bits and the policy."""
    first = words[0].lower() if words else ""
    if first in FORMATS and first not in WEIGHT_FORMATS:
        return [f"w{FORMATS[first]}a{FORMATS[first]}", BLOCK, *words]
    if len(words) > 1 and words[1].lower() in FORMATS:
        return [words[0], BLOCK, *words[1:]]
    return words


@dataclass(frozen=True)
class _Rest:
    transforms: tuple[Term, ...]
    keep: tuple[str, ...]
    calib: int | None
    observer: str | None
    input: int | None
    at8: tuple[str, ...]


def _parse_rest(words: list[str], text: str) -> _Rest:
    found: dict[str, str] = {}
    for word in words:
        if word.count("(") != word.count(")"):
            raise RequestError(f"'{text}' is no recipe: '{word}' has half a bracket; brackets hold no spaces")
        match = re.fullmatch(rf"({'|'.join(_WORDS)})\(([^()]+)\)", word)
        key, value = (match[1], match[2]) if match else ("transform", word)
        if key in found:
            raise RequestError(
                f"'{text}' is no recipe: '{word}' comes after another {key}; "
                "keep and at8 list globs with commas, transforms are joined with +"
            )
        found[key] = value
    steps = _BETWEEN_TERMS.split(found["transform"]) if "transform" in found else []
    terms = tuple(_parse_term(step, text) for step in steps)
    keep, at8 = (tuple(found[word].split(",")) if word in found else () for word in ("keep", "at8"))
    found["calib"], comma, observer = found.get("calib", "").partition(",")
    if comma and not observer:
        raise RequestError(f"'{text}' is no recipe: in calib(N,NAME) the name of an observer is missing")
    return _Rest(
        terms, keep, _parse_int(found, "calib", text), observer.lower() or None, _parse_int(found, "input", text), at8
    )  # fmt: skip


def _parse_term(word: str, text: str) -> Term:
    match = _TERM.fullmatch(word)
    if match is None:
        raise RequestError(f"'{text}' is no recipe: '{word}' is no step like smooth or svd(rank=4); {_GRAMMAR}")
    pairs = [part.partition("=") for part in match[2].split(",")] if match[2] else []
    return Term(match[1], tuple((key, value) for key, _, value in pairs))


def _parse_int(found: dict[str, str], key: str, text: str) -> int | None:
    if not found.get(key):
        return None
    if not _NUMBER.fullmatch(found[key]):
        raise RequestError(f"'{text}' is no recipe: '{key}({found[key]})' needs a whole number")
    return int(found[key])
