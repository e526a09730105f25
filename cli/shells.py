"""Completion in bash and zsh, where options differ from what click expects.

bash ends a word at `=`: `engine=vl` arrives as three words. Both shells put a space
after what they completed, which must not be where a value or more of a path follows.
fish leaves it out by itself.
"""

import os

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)


class OptionsInBash(BashComplete):
    """Puts options together again, and returns only what follows their `=`."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)",
        "COMPREPLY+=($value); [[ $value == *[=/] ]] && compopt -o nospace",
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is completed, and that one."""
        words = split_arg_string(os.environ["COMP_WORDS"])
        number = int(os.environ["COMP_CWORD"])
        last = words[number] if number < len(words) else ""
        if last == "=":
            return words[1 : number - 1], f"{words[number - 1]}="
        if last and words[number - 1] == "=":
            return words[1 : number - 2], f"{words[number - 2]}={last}"
        return words[1:number], last

    def format_completion(self, item: CompletionItem) -> str:
        """Return a line for the script of bash."""
        _, incomplete = self.get_completion_args()
        before, equals, _ = incomplete.partition("=")
        value = item.value.removeprefix(before + equals) if equals else item.value
        return f"{item.type},{value}"


class OptionsInZsh(ZshComplete):
    """Adds what ends in `=` or `/` without the space."""

    source_template = ZshComplete.source_template.replace(
        'completions+=("$key")',
        'if [[ "$key" == *[=/] ]]; then compadd -U -S "" -- "$key";'
        ' else completions+=("$key"); fi',
    )


def register() -> None:
    """Let click use these classes."""
    add_completion_class(OptionsInBash)
    add_completion_class(OptionsInZsh)
