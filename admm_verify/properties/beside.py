"""Questions that compare outputs with inputs, or ask about products, as ones that are linear in outputs alone: of a
network that hands these on.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import groupby

import numpy as np

from admm_verify.network.builder import Builder, Tensor
from admm_verify.network.graph import Network
from admm_verify.network.nonlinear import power
from admm_verify.network.pair import PairedNetwork
from admm_verify.network.splice import splice
from admm_verify.properties.property import Atom, Disjunct, Factors, Property
from admm_verify.sets.exact_cut import Inequality


def about_outputs(asked: Property, network: Network) -> tuple[Property, Network] | None:
    """The same question about a network f beside some of its inputs, (f(x), x_used, products); None where atoms are
    linear and read outputs alone.

    In exact numbers it has the same answers; a counterexample as computed counts by the question asked.
    Rows of a cut that also has a set of floats become atoms, too: boxes alone are cut by rows.
    """
    disjuncts = [_with_rows(disjunct) for disjunct in asked.disjuncts]
    atoms = [atom for disjunct in disjuncts for atom in disjunct.atoms if not atom.of_outputs]
    used = sorted({index for atom in atoms for index, _ in atom.inputs})
    products = sorted({factors for atom in atoms for factors, _ in atom.products}, key=_exponents)
    if not used and not products:
        return None
    first = network.output_size
    place = {index: first + k for k, index in enumerate(used)}
    placed = {factors: first + len(used) + k for k, factors in enumerate(products)}
    known: dict[int, Atom] = {}

    def moved(atom: Atom) -> Atom:
        # Disjuncts share their atoms, which live as long as these do.
        if id(atom) not in known:
            terms = [(place[index], value) for index, value in atom.inputs]
            terms += [(placed[factors], value) for factors, value in atom.products]
            known[id(atom)] = Atom((*atom.terms, *terms), atom.constant, atom.strict, atom.line)
        return known[id(atom)]

    ways = tuple(replace(disjunct, atoms=tuple(map(moved, disjunct.atoms))) for disjunct in disjuncts)
    declared = asked.networks[0]
    inputs = tuple(variable for one in asked.networks for variable in one.inputs)
    variable = replace(declared.outputs[0], shape=(first + len(used) + len(products),))
    networks = (replace(declared, inputs=inputs, outputs=(variable,), hidden=()),)
    found = replace(asked, networks=networks, disjuncts=ways)
    return found, beside_inputs(network, used, products)


def beside_inputs(network: Network, used: Sequence[int], products: Sequence[Factors] = ()) -> Network:
    """(f(x), x_used, products of entries of x and f(x)) as a network, flat; products of the same exponents side by
    side, as `_exponents` sorts them.
    """
    builder = Builder(network.input_shape, network.element_type)
    flat = builder.reshape(builder.input, (network.input_size,))
    # As read, a pair of networks has lost what their differences are bounded by.
    output = splice(builder, network, flat, merged=isinstance(network, PairedNetwork))
    parts = [output] if not used else [output, builder.select(flat, np.array(used, dtype=np.int64))]
    both = builder.concat([flat, output], 0)
    parts += [_products(builder, both, list(group)) for _, group in groupby(products, _exponents)]
    made = builder.finish(builder.concat([*parts], 0), network.name)
    assert made.as_read is not None
    read = replace(made.as_read, input_shape=network.input_shape)
    return replace(made, input_shape=network.input_shape, as_read=read)


def _exponents(factors: Factors) -> tuple[int, ...]:
    """How often each entry of a product stands in it, in their order."""
    return tuple(len(list(group)) for _, group in groupby(factors))


def _products(builder: Builder, both: Tensor, products: Sequence[Factors]) -> Tensor:
    """Products of the same exponents as a value of a graph, powers first: the range of a power is known best.

    both: the input, and the output behind it.
    """
    first = builder.input.size
    entries = [[first * is_output + index for (is_output, index), _ in groupby(factors)] for factors in products]
    columns = zip(np.array(entries).T, _exponents(products[0]), strict=True)
    return reduce(builder.product, [power(builder, builder.select(both, index), count) for index, count in columns])


def _with_rows(disjunct: Disjunct) -> Disjunct:
    cut = disjunct.cut
    if cut is None or cut.within is None:
        return disjunct
    return replace(disjunct, atoms=disjunct.atoms + tuple(map(_atom, cut.rows)))


def _atom(row: Inequality) -> Atom:
    return Atom((), row.constant, row.strict, row.line, row.terms)
