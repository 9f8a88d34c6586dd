"""Recipe: what is printed parses back to the same recipe, and what is no recipe gets a sentence."""

import random

import pytest

from medquanbench.values import Recipe, RequestError, Term

LETTERS = "abcdefghijklmnopqrstuvwxyz"
NAME = LETTERS + "0123456789_-"
GLOB = LETTERS + LETTERS.upper() + "0123456789_-.*?[]!+=:/"
VALUE = LETTERS + "0123456789_-.*?[]!+=:/"


def word(source: random.Random, letters: str, first: str = "") -> str:
    return source.choice(first or letters) + "".join(source.choices(letters, k=source.randrange(8)))


def unlike(source: random.Random, letters: str, first: str, count: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word(source, letters, first) for _ in range(source.randrange(count))))


def random_recipe(seed: int) -> Recipe:
    source = random.Random(seed)
    bits = [2, 3, 4, 5, 6, 7, 8, 16]
    terms = tuple(
        Term(
            word(source, NAME, LETTERS) + "x",  # not keep, calib or input
            tuple((key, word(source, VALUE)) for key in unlike(source, VALUE.replace("=", ""), "", 4)),
        )
        for _ in range(source.randrange(4))
    )
    return Recipe(
        source.choice(bits), source.choice(bits), word(source, NAME, LETTERS), terms, unlike(source, GLOB, "", 4),
        source.choice([None, source.randrange(1, 1000)]), source.choice([None, *bits]),
    )  # fmt: skip


@pytest.mark.parametrize("start", range(0, 3000, 500))
def test_what_is_printed_parses_back(start):
    for seed in range(start, start + 500):
        recipe = random_recipe(seed)
        assert Recipe.parse(str(recipe)) == recipe
        assert str(Recipe.parse(str(recipe))) == str(recipe)


def test_different_recipes_print_differently():
    recipes = {random_recipe(seed) for seed in range(2000)} | {Recipe()}
    assert len({str(recipe) for recipe in recipes}) == len(recipes)


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("fp32", Recipe()),
        ("w4a4 adaptive", Recipe(4, 4, "adaptive")),
        ("w8a8 per-tensor", Recipe(8, 8, "per-tensor")),
        (
            "w4a4 adaptive keep(a) at8(head,stem.*) calib(2)",
            Recipe(4, 4, "adaptive", keep=("a",), at8=("head", "stem.*"), calibration=2),
        ),
        ("w4a16 per-channel keep(decoder.*)", Recipe(4, 16, "per-channel", keep=("decoder.*",))),
        (
            "w4a4 adaptive smooth(alpha=0.5)+svd(rank=4) keep(decoder.*,*.head) calib(8) input(8)",
            Recipe(
                4, 4, "adaptive", (Term("smooth", (("alpha", "0.5"),)), Term("svd", (("rank", "4"),))),
                ("decoder.*", "*.head"), 8, 8,
            ),
        ),
        ("w4a4 adaptive hadamard+svd(rank=1e+1,seed=0)", Recipe(
            4, 4, "adaptive", (Term("hadamard"), Term("svd", (("rank", "1e+1"), ("seed", "0"))))
        )),
    ],
)  # fmt: skip
def test_canonical_text(text, recipe):
    assert str(recipe) == text
    assert Recipe.parse(text) == recipe


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("  W4A8   Per-Channel ", "w4a8 per-channel"),
        ("FP32", "fp32"),
        ("w04a04 per-tensor", "w4a4 per-tensor"),
        ("w4a4 adaptive input(8) calib(08) keep(A.b)", "w4a4 adaptive keep(A.b) calib(8) input(8)"),
        ("w4a4 adaptive keep(x) svd", "w4a4 adaptive svd keep(x)"),
        ("w4a4 adaptive svd()", "w4a4 adaptive svd"),
    ],
)
def test_other_spellings(text, canonical):
    assert str(Recipe.parse(text)) == canonical


def test_properties():
    recipe = Recipe.parse("w4a8 adaptive smooth(alpha=0.5)+svd")
    assert (recipe.precision, recipe.transform, recipe.is_reference) == ("W4A8", "smooth(alpha=0.5)+svd", False)
    assert (Recipe().precision, Recipe().transform, Recipe().is_reference) == ("FP32", "-", True)
    # The float network with transforms is a recipe of its own, not the reference.
    assert not Recipe.parse("w16a16 per-tensor").is_reference


BAD_TEXTS = {
    "": "must begin with wNaM or be fp32",
    "fp32 per-tensor": "must begin with wNaM",
    "int8 per-tensor": "must begin with wNaM",
    "w4 per-tensor": "must begin with wNaM",
    "w-4a4 per-tensor": "must begin with wNaM",
    "w4.5a4 per-tensor": "must begin with wNaM",
    "w\u0664a4 per-tensor": "must begin with wNaM",  # an Arabic four
    f"w{'9' * 5000}a4 per-tensor": "must begin with wNaM",
    "w4a4": "a policy must follow 'w4a4'",
    "w4a4 keep(a)": "a policy must follow",
    "w4a4 2fast": "a policy must follow",
    "w1a4 per-tensor": "'w1' asks for 1 bits; there are 2 to 8, and 16 for float",
    "w4a9 per-tensor": "'a9' asks for 9 bits",
    "w4a32 per-tensor": "'a32' asks for 32 bits",
    "w0a0 per-tensor": "'w0' asks for 0 bits",
    "w4a4 per-tensor input(9)": "'input(9)' asks for 9 bits",
    "w4a4 per-tensor input(x)": "'input(x)' needs a whole number",
    "w4a4 per-tensor input(\u00b2)": "needs a whole number",  # a superscript two
    "w4a4 per-tensor input()": "'input' is no name of a step",
    "w4a4 per-tensor calib(0)": "at least 1 is needed",
    "w4a4 per-tensor calib(-1)": "'calib(-1)' needs a whole number",
    f"w4a4 per-tensor calib({'9' * 5000})": "needs a whole number",
    "w4a4 per-tensor keep()": "'keep' is no name of a step",
    "w4a4 per-tensor keep": "'keep' is no name of a step",
    "w4a4 per-tensor keep(a,)": "'' is no module path or glob",
    "w4a4 per-tensor keep(a, b)": "'keep(a,' has half a bracket; brackets hold no spaces",
    "w4a4 per-tensor keep(a,a)": "'a' is kept twice",
    "w4a4 per-tensor at8(a,a)": "'a' is held at 8 bits twice",
    "w8a8 per-tensor at8(a)": "at8(a) holds layers at 8 bits among integers of fewer, not in w8a8",
    "mxfp4 at8(a)": "not in mxfp4",
    "w4a4 per-tensor keep(a) keep(b)": "'keep(b)' comes after another keep",
    "w4a4 per-tensor calib(1) calib(2)": "comes after another calib",
    "w4a4 per-tensor svd smooth": "comes after another transform; keep and at8 list globs with commas",
    "w4a4 per-tensor svd+": "'' is no step",
    "w4a4 per-tensor Svd": "'Svd' is no step",
    "w4a4 per-tensor svd(4)": "needs name=value in its brackets",
    "w4a4 per-tensor svd(rank=)": "needs name=value in its brackets",
    "w4a4 per-tensor svd(=4)": "needs name=value in its brackets",
    "w4a4 per-tensor svd(rank=4,)": "needs name=value in its brackets",
    "w4a4 per-tensor svd(rank=4,rank=8)": "gives a parameter twice",
    "w4a4 per-tensor svd(rank=4": "half a bracket",
    "w4a4 per-tensor svd((rank=4))": "is no step",
}


@pytest.mark.parametrize(("text", "sentence"), BAD_TEXTS.items(), ids=lambda text: text[:40])
def test_what_is_no_recipe(text, sentence):
    with pytest.raises(RequestError) as error:
        Recipe.parse(text)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Recipe(4, 4), "needs a policy"),
        (lambda: Recipe(keep=("a",)), "needs a policy"),
        (lambda: Recipe(input_bits=8), "needs a policy"),
        (lambda: Recipe(4, 4, "Adaptive"), "'Adaptive' is no name of a policy"),
        (lambda: Recipe(4, 4, "per tensor"), "'per tensor' is no name of a policy"),
        (lambda: Recipe(4, 4, ""), "'' is no name of a policy"),
        (lambda: Recipe(4, 4, "adaptive", keep=("a b",)), "'a b' is no module path or glob"),
        (lambda: Recipe(4, 4, "adaptive", keep=("a\x1fb",)), "is no module path or glob"),
        (lambda: Term("keep", (("a", "1"),)), "'keep' is no name of a step"),
        (lambda: Term("SVD"), "'SVD' is no name of a step"),
        (lambda: Term("svd", (("rank", "1,2"),)), "needs name=value"),
        (lambda: Term("svd", (("a=b", "1"),)), "needs name=value"),
        (lambda: Term("svd", (("rank", "a b"),)), "needs name=value"),
    ],
)
def test_what_cannot_be_printed_cannot_be_made(make, sentence):
    with pytest.raises(RequestError, match=sentence):
        make()


def test_any_text_is_a_recipe_or_a_sentence():
    source = random.Random(0)
    pieces = "w4a4|fp32| |adaptive|keep(|calib(|input(|)|+|,|=|*|8|svd|\t|\u00e9|(".split("|")
    for _ in range(20_000):
        text = "".join(source.choices(pieces, k=source.randrange(9)))
        try:
            recipe = Recipe.parse(text)
        except RequestError as error:
            assert str(error)
        else:
            assert Recipe.parse(str(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "raised"),
    [
        ("w4a4 engine gptq at8(a) calib(8)", "w8a8 engine gptq calib(8)"),
        ("w4a4 engine at8(a) input(4)", "w8a8 engine input(8)"),
        ("w2a16 per-channel keep(b) at8(a)", "w8a16 per-channel keep(b)"),
        ("w16a3 per-tensor at8(a) input(16)", "w16a8 per-tensor input(16)"),
    ],
)
def test_what_is_held_at_8_bits_never_gets_fewer(text, raised):
    assert str(Recipe.parse(text).raised) == raised
