"""How weights came into a network, in words and as plain JSON."""

from medquanbench.values import Loaded, from_plain, to_plain

FULL = Loaded(
    under="ema_model_state_dict",
    passed_over=("model_state_dict",),
    prefix="module.",
    key_map="old",
    renamed=(("swin_vit.", "swinViT."),),
    dropped=("a", "b", "c", "d"),
    left=("e",),
)


def test_nothing_is_said_of_names_that_are_the_networks_own():
    assert Loaded().in_words() == ""


def test_all_that_was_done_is_said():
    assert FULL.in_words() == (
        "read under 'ema_model_state_dict', not under 'model_state_dict', 'module.' taken off all names, by the key "
        "map old, 'swin_vit.' renamed 'swinViT.', 4 tensors dropped (a, b, c, ...), 1 tensor never read, "
        "left as built (e)"
    )


def test_it_comes_back_from_plain_json():
    assert from_plain(Loaded, to_plain(FULL)) == FULL
