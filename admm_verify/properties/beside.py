"""Questions that compare outputs with inputs as questions about outputs alone: of a network that hands inputs on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from admm_verify.network.builder import Builder
from admm_verify.network.graph import Network
from admm_verify.network.splice import splice
from admm_verify.properties.property import Atom, Disjunct, Property
from admm_verify.sets.exact_cut import Inequality


def about_outputs(asked: Property, network: Network) -> tuple[Property, Network] | None:
    """The same question about a network f beside some of its inputs, (f(x), x_used); None where atoms read none.

    Rows of a cut that also has a set of floats become atoms, too: boxes alone are cut by rows.
    """
    disjuncts = [_with_rows(disjunct) for disjunct in asked.disjuncts]
    used = sorted({index for disjunct in disjuncts for atom in disjunct.atoms for index, _ in atom.inputs})
    if not used:
        return None
    place = {index: network.output_size + k for k, index in enumerate(used)}
    known: dict[int, Atom] = {}

    def moved(atom: Atom) -> Atom:
        # Disjuncts share their atoms, which live as long as these do.
        if id(atom) not in known:
            terms = tuple((place[index], value) for index, value in atom.inputs)
            known[id(atom)] = Atom(atom.terms + terms, atom.constant, atom.strict, atom.line)
        return known[id(atom)]

    ways = tuple(replace(disjunct, atoms=tuple(map(moved, disjunct.atoms))) for disjunct in disjuncts)
    declared = asked.networks[0]
    variable = replace(declared.outputs[0], shape=(network.output_size + len(used),))
    found = replace(asked, networks=(replace(declared, outputs=(variable,)),), disjuncts=ways)
    return found, beside_inputs(network, used)


def beside_inputs(network: Network, used: Sequence[int]) -> Network:
    """(f(x), x_used) as a network, flat."""
    builder = Builder(network.input_shape, network.element_type)
    flat = builder.reshape(builder.input, (network.input_size,))
    output = splice(builder, network, flat)
    parts = [output, builder.select(flat, np.array(used, dtype=np.int64))]
    made = builder.finish(builder.concat([*parts], 0), network.name)
    assert made.as_read is not None
    read = replace(made.as_read, input_shape=network.input_shape)
    return replace(made, input_shape=network.input_shape, as_read=read)


def _with_rows(disjunct: Disjunct) -> Disjunct:
    cut = disjunct.cut
    if cut is None or cut.within is None:
        return disjunct
    return replace(disjunct, atoms=disjunct.atoms + tuple(map(_atom, cut.rows)))


def _atom(row: Inequality) -> Atom:
    return Atom((), row.constant, row.strict, row.line, row.terms)
