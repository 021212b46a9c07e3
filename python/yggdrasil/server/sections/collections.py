"""Up to which size collections are packed into one piece."""

from typing import Annotated

from pydantic import Field

from yggdrasil.server.option import Count, Option, Section, Whole


class Collections(Section):
    """Up to which size collections are packed into one piece."""

    hash_max_listpack_entries: Annotated[
        Count,
        Option(help="Fields that a hash may have while it is packed.", redis=True, runtime=True, engine=True),
    ] = 512
    hash_max_listpack_value: Annotated[
        Count,
        Option(help="Longest field or value of a packed hash.", unit="bytes", redis=True, runtime=True, engine=True),
    ] = 64
    set_max_intset_entries: Annotated[
        Count,
        Option(
            help="Members that a set of integers may have while it is packed.", redis=True, runtime=True, engine=True
        ),
    ] = 512
    set_max_listpack_entries: Annotated[
        Count,
        Option(
            help="Members that a set of other members may have while it is packed.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 128
    set_max_listpack_value: Annotated[
        Count,
        Option(help="Longest member of a packed set.", unit="bytes", redis=True, runtime=True, engine=True),
    ] = 64
    zset_max_listpack_entries: Annotated[
        Count,
        Option(help="Members that a sorted set may have while it is packed.", redis=True, runtime=True, engine=True),
    ] = 128
    zset_max_listpack_value: Annotated[
        Count,
        Option(help="Longest member of a packed sorted set.", unit="bytes", redis=True, runtime=True, engine=True),
    ] = 64
    stream_node_max_bytes: Annotated[
        Count,
        Option(
            help="Bytes of a node of a stream; 0 for no limit.", unit="bytes", redis=True, runtime=True, engine=True
        ),
    ] = 4096
    stream_node_max_entries: Annotated[
        Count,
        Option(help="Entries of a node of a stream; 0 for no limit.", redis=True, runtime=True, engine=True),
    ] = 100
    list_max_listpack_size: Annotated[
        Whole,
        Field(ge=-5, le=1_000_000),
        Option(
            help="Elements of a node of a list; -1 to -5 stand for nodes of 4, 8, 16, 32 and 64 KB.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = -2
    hll_sparse_max_bytes: Annotated[
        Count,
        Option(help="Longest HyperLogLog in the sparse encoding.", unit="bytes", redis=True, runtime=True, engine=True),
    ] = 3000
