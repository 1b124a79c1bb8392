"""Tunnels in the hub's books: when nothing moves, when a visitor is gone, and what is counted."""

from __future__ import annotations

from tests.hubd.test_upgraded import switched


async def test_a_tunnel_is_in_the_books_until_both_sides_are_gone(bench):
    agent, visitor, stream, _ = await switched(bench)
    hub = bench.hub
    (tunnel,) = hub.tunnels
    assert (hub.budget.visitors, hub.active, hub.stats.upgrades) == (1, 1, 1)
    visitor.reset()
    await bench.wait(lambda: not hub.tunnels)
    await stream.gone()
    assert (hub.budget.visitors, hub.active) == (0, 0)
    assert tunnel.left.lost and tunnel.right.lost


async def test_an_idle_upgraded_connection_is_cut(bench):
    _, visitor, stream, _ = await switched(bench)
    bench.later(1)
    bench.later(299)
    await visitor.send(b"alive")
    await bench.wait(lambda: bytes(stream.raw) == b"alive")
    bench.later(300)
    bench.later(590)
    assert not stream.lost
    bench.later(601)
    await stream.gone()
    await visitor.rest()


async def test_a_visitor_gone_unseen_is_found(bench):
    agent, visitor, stream, _ = await switched(bench)
    agent.raw = False  # its side stays open
    visitor.writer.write_eof()
    await bench.wait(lambda: stream.eof)
    visitor.reset()
    (tunnel,) = bench.hub.tunnels
    await bench.wait(lambda: (bench.later(0), stream.lost)[1])
    assert tunnel not in bench.hub.tunnels
