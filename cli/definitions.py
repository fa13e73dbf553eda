"""`add`, `list`, `show`, `set` and `delete` of each kind of definition: made from its noun, the same for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from cli import fields, options
from cli.nouns import Noun, id_of, one, references
from cli.options import NONE

if TYPE_CHECKING:
    from cli.client import Api
    from cli.terminal import Part

Found = dict[str, Any]
Command = Callable[..., None]
Columns = Sequence[tuple[str, Callable[[Found], "Part"]]]
"""The columns of a table: its title, and what it says of one definition."""


def _as_it_is(command: Command) -> Command:
    return command


def _nothing(_: Api, __: Found) -> None:
    return None


class Kind:
    """A noun's commands. `columns`: of its list, after its name.

    `but`: fields that have no option; `added`, `more`: further options, of `add` alone or of `add` and `set`, whose
    values `prepare_new` and `prepare` turn into fields. `also`: what `show` prints beside the definition's fields.
    """

    def __init__(
        self,
        noun: Noun,
        columns: Columns,
        *,
        but: Sequence[str] = (),
        optional: Sequence[str] = (),
        added: Callable[[Command], Command] = _as_it_is,
        more: Callable[[Command], Command] = _as_it_is,
        prepare: Callable[[Api, Found], None] = _nothing,
        prepare_new: Callable[[Api, Found], None] | None = None,
        also: Callable[[Api, Found], Found | None] = _nothing,
    ) -> None:
        self.noun, self.columns = noun, columns
        self.but, self.optional, self.added, self.more = but, optional, added, more
        self.prepare, self.prepare_new, self.also = prepare, prepare_new or prepare, also

    def group(self) -> click.Group:
        """Return `flows NOUN`, with the five commands in it."""
        noun = self.noun
        found = click.Group(noun.name, help=f"Add, list, show, change and delete {noun.words}.")
        for command in (self.add(), self.list(), self.show(), self.set(), self.delete()):
            found.add_command(command)
        return found

    def add(self) -> click.Command:
        """Return the command that creates one."""
        noun = self.noun

        @click.command("add", help=f"Create a {noun.word}.")
        @click.argument("name")
        @self._fields(noun.spec, required=True)
        @self.added
        @self.more
        @options.as_json
        @options.api
        def add(api: Api, name: str, as_json: bool, **given: Any) -> None:
            made = api.call("POST", noun.path, json={noun.title: name, **self._body(api, given, self.prepare_new)})
            _done(made, f"created {noun.word} {name!r}, id {made[noun.id]}", as_json=as_json)

        return add

    def list(self) -> click.Command:
        """Return the command that lists them."""
        noun = self.noun

        @click.command("list", help=f"List {noun.words}.")
        @click.option("--search", "q", metavar="TEXT", help="With this in the name.")
        @click.option("--enabled/--disabled", default=None)
        @options.as_json
        @options.api
        def list_(api: Api, as_json: bool, **given: Any) -> None:
            from cli import terminal

            query = {name: value for name, value in given.items() if value is not None}
            found = api.all(noun.path, noun.key, sort="name", **query)
            if as_json:
                terminal.print_json(terminal.out, *found)
                return
            titles = ["NAME", *(title for title, _ in self.columns)]
            rows = [[one[noun.title], *(cell(one) for _, cell in self.columns)] for one in found]
            terminal.print_table(terminal.out, titles, rows)

        return list_

    def show(self) -> click.Command:
        """Return the command that prints all of one."""
        noun = self.noun

        @click.command("show", help=f"Print all of a {noun.word}.")
        @reference(noun)
        @options.as_json
        @options.api
        def show(api: Api, as_json: bool, reference: str) -> None:
            found = one(api, noun, reference)
            print_fields({**found, **(self.also(api, found) or {})}, as_json=as_json)

        return show

    def set(self) -> click.Command:
        """Return the command that changes one."""
        noun = self.noun

        @click.command("set", help=f"Change a {noun.word}. What is left out stays as it is, and `none` clears.")
        @reference(noun)
        @click.option("--name", noun.title, help="A new name.")
        @self._fields(noun.patch, required=False)
        @self.more
        @options.as_json
        @options.api
        def set_(api: Api, as_json: bool, reference: str, **given: Any) -> None:
            patch = self._body(api, given, self.prepare)
            if not patch:
                raise click.UsageError("nothing to change: see the options in --help")
            made = api.call("PUT", f"{noun.path}/{id_of(api, noun, reference)}", json=patch)
            said = f"changed {noun.word} {made[noun.title]!r}: {', '.join(patch)} (version {made['version']})"
            _done(made, said, as_json=as_json)

        return set_

    def delete(self) -> click.Command:
        """Return the command that deletes one. The API refuses while something refers to it."""
        noun = self.noun

        @click.command("delete", help=f"Delete a {noun.word}, unless something refers to it.")
        @reference(noun)
        @options.api
        def delete(api: Api, reference: str) -> None:
            from cli import terminal

            found = one(api, noun, reference)
            api.call("DELETE", f"{noun.path}/{found[noun.id]}")
            terminal.print_line(terminal.out, f"deleted {noun.word} {found[noun.title]!r}")

        return delete

    def _fields(self, shape: type[Any], *, required: bool) -> Callable[[Command], Command]:
        optional = None if not required else self.optional
        referring = references(shape)
        own = fields.options(shape, but=(self.noun.title, *self.but, *referring), optional=optional)

        def decorate(command: Command) -> Command:
            command = own(command)
            for field, noun in reversed(referring.items()):
                about = f"The {noun.word}, by name or id."
                command = click.option(f"--{noun.name}", field, help=about, shell_complete=complete(noun))(command)
            return command

        return decorate

    def _body(self, api: Api, given: Found, prepare: Callable[[Api, Found], None]) -> Found:
        for field, noun in references(self.noun.spec).items():
            if given.get(field) not in {None, NONE}:
                given[field] = id_of(api, noun, given[field])
        prepare(api, given)
        return fields.body(given, self.noun.spec)


def _done(made: Found, said: str, *, as_json: bool) -> None:
    from cli import terminal

    if as_json:
        terminal.print_json(terminal.out, made)
        return
    terminal.print_line(terminal.out, said)
    for warning in made.get("warnings", []):
        terminal.print_line(terminal.err, (f"warning: {warning}", "yellow"))


def print_fields(found: Found, *, as_json: bool) -> None:
    """Print one thing: a line for each field."""
    from cli import shown, terminal

    if as_json:
        terminal.print_json(terminal.out, found)
        return
    for title, value in shown.fields(found):
        terminal.print_line(terminal.out, (f"{title:<26}", "dim"), value)


def reference(noun: Noun, *, required: bool = True, nargs: int = 1) -> Callable[[Any], Any]:
    """Return the argument that names a definition: by its name, or its id."""
    name = "reference" if nargs == 1 else "references"
    return click.argument(
        name, metavar=noun.name.upper(), required=required, nargs=nargs, shell_complete=complete(noun)
    )


def complete(noun: Noun) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes the name of a definition: by asking the engine, or not at all."""

    def names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        with suppress(Exception):
            return list(_beginning(ctx, noun, incomplete))
        return []

    return names


def _beginning(ctx: click.Context, noun: Noun, incomplete: str) -> Iterator[str]:
    where = [ctx.params.get(name) for name in ("data", "context", "url", "token_file", "ca")]
    with options.connected(*where) as api:
        for found in api.all(noun.path, noun.key, most=100, q=incomplete, sort="name"):
            if found[noun.title].startswith(incomplete):
                yield found[noun.title]
