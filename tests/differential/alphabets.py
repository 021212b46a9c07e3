"""The alphabets of arguments: few of each kind, so that commands meet, with all values at which something turns."""

import hashlib

BIG = [b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"99999999999999999999"]
JUNK = [b"", b"x", b"1.5", b"-1", b"NX", b"0", b" 1", b"1 ", b"0x1", b"+1", b"01", b"-0", b"nan", *BIG]

OF_TYPES = {
    "string": [b"s", b"{t}s", b"s2", b"number"],
    "hyperloglog": [b"p", b"{t}p", b"p2"],
    "list": [b"l", b"{t}l", b"l2", b"l3"],
    "set": [b"e", b"{t}e", b"e2", b"e3"],
    "zset": [b"z", b"{t}z", b"z2", b"z3"],
    "geo": [b"g", b"{t}g"],
    "lexset": [b"y", b"{t}y", b"y2"],
    "hash": [b"h", b"{t}h", b"h2"],
    "stream": [b"x", b"{t}x", b"x2"],
}
ALL_KEYS = [key for keys in OF_TYPES.values() for key in keys] + [b"absent"]
# What is declared to a script.
KEY_NAMES = frozenset(ALL_KEYS)

MEMBERS = [b"a", b"b", b"c", b"d", b"aa", b"ab", b"1", b"2", b"3", b"17", b"-5", b"1000000", b"m" * 70, b"", b"\xff\0"]
NUMBERS = [b"0", b"1", b"-1", b"2", b"3", b"5", b"10", b"100", b"-7", b"70000", b"9007199254740993"]
SCORES = [
    *(b"0 1 1 2 2 3 -1 -0 1.5 -2.25 0.1 1e3 3.0e2 1e22 1e-7 1.7976931348623157e308".split()),
    *(b"inf -inf +inf Infinity 9007199254740993 9223372036854775807 123456789012345678901234567890".split()),
    b"0.30000000000000004",
    b"5e-324",
]
IDS = [b"0", b"0-0", b"0-1", b"1-1", b"1-2", b"2", b"2-1", b"5-0", b"7-7", b"100-1", b"18446744073709551615-1", b"-"]

ALPHABETS: dict[str, list[bytes]] = {
    "key": ALL_KEYS,
    "text": [b"", b"x", b"hello world", b"\r\n\0\xff", b"z" * 50, b"abc" * 100, b"y" * 20_000, b"12", b"-3", b"1.5"],
    "integer": NUMBERS * 2 + BIG,
    "float": [*(b"0.5 -1.25 3 1e3 3.0e2 0.1 -0.0 1e17 1e400 inf -inf nan".split()), b"x", b" 1"],
    "index": [*(b"0 0 1 2 3 5 -1 -1 -2 -3 -10 100 30000 -30000".split()), BIG[0], BIG[1]],
    "element": b"0 0 1 2 3 -1 -1 -2 -3 100 -100".split(),
    "skip": b"0 0 0 1 2 3 100".split(),
    "left": b"0 0 100000 -1 x".split(),
    "zero": [b"0"],
    "count": [*(b"0 1 1 2 3 10 100 -1".split()), BIG[0]],
    "all": [b"1000", b"100000", BIG[0]],
    "offset": [*(b"0 1 7 8 63 64 100 30000 -1 4294967296".split()), BIG[0]],
    "bit": [b"0", b"1", b"0", b"1", b"2"],
    "bits": b"u8 i8 u1 i5 u63 i64 u64 i65 u0 x".split(),
    "place": [*(b"0 1 7 8 63 64 100 #0 #1 #3 #-1 -1".split()), b"#" + BIG[0]],
    "seconds": [*(b"100 5000 1000000 0 -1".split()), BIG[0], b"x"],
    "millis": [*(b"100000 5000000 1000000000 0 -1".split()), BIG[0], b"x"],
    "moment": [*(b"33177117420 33177117421 1 0 -1".split()), BIG[0], b"x"],
    "timeout": b"0.001 0.001 0.002 0.01 -1 x nan 1e400".split(),
    "wait": b"1 1 2 -1 x".split(),
    "member": MEMBERS,
    "field": MEMBERS,
    "score": SCORES,
    "bound": [*(b"-inf +inf 0 1 2 3 (1 (2 (0 -1 (-inf (+inf 1.5 inf 1e22 nan x (".split())],
    "lex": [*(b"- + [a (a [b (b [c [aa (ab [1 [m ( [ x a".split())],
    "longitude": b"13.361389 15.087269 2.352222 -74.006 0 180 -180 179.9999 181 x".split(),
    "latitude": b"38.115556 37.502669 48.856613 40.7128 0 85.05112878 -85.05112878 86 x".split(),
    "radius": b"0 1 100 200 1000 20000 1e10 1.5 -1 x nan".split(),
    "unit": b"m km ft mi km KM x".split(),
    "group": [b"one", b"two", b"none"],
    "consumer": [b"alice", b"bob"],
    "id": [*IDS, b"*", b"5-*", b"x", b"1-1-1"],
    "rising": [b"1-1", b"1-*", b"2-0", b"5-1", b"5-*", b"7-*", b"9-*", b"100-*", b"*"],
    "from": [b"0", b"$", b"0-0", b"1-1", b"5-0", b"x"],
    "edge": [b"-", b"+", b"-", b"+", b"(1-1", b"1-1", b"2", b"(5", b"5-0", b"(-", b"x", b"0", b"7-7"],
    "idle": [b"0", b"0", b"0", b"9000000", BIG[0], b"-1", b"x"],
    "database": b"0 0 1 2 15 16 -1 x".split(),
    "pattern": b"* * a [ab] {t}* ? [^a] \\* *1 [a- x* m* [".split(),
    "cursor": [b"0", b"0", b"0", b"0", b"x", BIG[3]],
    "type": b"string list set zset hash stream x ZSET".split(),
    "by": b"nosort {t}* * number h->* h->a e* x".split(),
    "get": b"# * h->* h->a {t}* s* x".split(),
    "payload": [
        b"",
        b"x",
        b"\x00\x05hello\x0c\x00\xa8\x04\xeb\xb6\x9f\x1e\xbeC",
        b"\x00\xc190\x0c\x00V\xe2\xde\xe7i\xd6\x96\xf0",
        b"\x12\x01\x02\x0f\x0f\x00\x00\x00\x03\x00\x81a\x02\x81b\x02\x11\x01\xff\x0c\x00v\tJ\xd9\xf1\xd6bF",
        b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\xe0\x93\x04\x00\x0c\x00\xbfY\x07\x88\xb2F\xf4p",
        b"\x14\r\r\x00\x00\x00\x02\x00\x81a\x02\x81b\x02\xff\x0c\x00\xa8E\x83\x07N\x16\xa1\x94",
        b"\x11\x14\x14\x00\x00\x00\x04\x00\x81a\x02\x01\x01\x81b\x02\x832.5\x04\xff\x0c\x00\x1f:Zd\x0cnG\x9e",
        b"\x10\x12\x12\x00\x00\x00\x04\x00\x81f\x02\x81v\x02\x81g\x02\x07\x01\xff\x0c\x00\xacyGz\x9e\x8dl\xeb",
        b"\x19\xe0iL\xa6,\x1e\x00\x00\x17\x17\x00\x00\x00\x03\x00\x81f\x02\x81v\x02\xf4\xe0iL\xa6,\x1e\x00\x00\t\xff\x0c\x00)\xb2\x13>\xb8P\x12\xc5",
        b"\x15\x01\x10\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\x1d\x1d\x00\x00\x00\n\x00\x01\x01\x00\x01\x01\x01\x81a\x02\x00\x01\x02\x01\x00\x01\x00\x01\x81b\x02\x04\x01\xff\x01\x05\x01\x05\x01\x00\x00\x01\x01\x03one\x00\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x0c\x00-3W{\xbf\xff\x94\xc1",
    ],
    "script": [
        b"return {KEYS, ARGV}",
        b"return ARGV[1]",
        b"return tonumber(ARGV[1])",
        b"return redis.call('GET', KEYS[1])",
        b"redis.call('SET', KEYS[1], ARGV[1]) return redis.status_reply('done')",
        b"return redis.pcall('LPUSH', KEYS[1], ARGV[1])",
        b"return {1, {2, 'x', false, 3.7}, true, nil, 4}",
        b"redis.setresp(3) return redis.call('HGETALL', KEYS[1])",
        b"redis.setresp(3) return {map={a=1}, double=1.5}",
        b"return redis.error_reply('ERR mine')",
        b"return redis.call('ZSCORE', KEYS[1], ARGV[1])",
        b"redis.setresp(3) return redis.call('ZSCORE', KEYS[1], ARGV[1])",
        b"error('thrown')",
        b"error({err='ERR table'})",
        b"return nosuch",
        b"return redis.call('NOSUCH')",
        b"return redis.call()",
        b"return cjson.encode({ARGV[1], #ARGV})",
        b"return {ok='fine'}",
        b"x",
        b"redis.call('SET', KEYS[1], 'x') return redis.pcall('INCR', 'number')",
        b"redis.call('SADD', KEYS[1] .. '2', 'x') redis.call('DEL', KEYS[1]) return redis.call('EXISTS', 's', 'l')",
        b"for i = 1, #KEYS do redis.call('EXPIRE', KEYS[i], 5000) end return redis.call('PUBLISH', 'channel', 'x')",
        b"return redis.call('RENAME', KEYS[1], 'absent') and redis.call('RENAME', 'absent', KEYS[1])",
        b"redis.call('RPUSH', KEYS[1], 'x') return redis.call('LMOVE', KEYS[1], 'l', 'LEFT', 'LEFT')",
    ],
    "function": [b"echo", b"swap", b"reads", b"none"],
    "library": [b"one", b"two", b"none"],
    "code": [
        b"#!lua name=one\nredis.register_function('echo', function(keys, args) return {keys, args} end)",
        b"#!lua name=one\nredis.register_function('swap', function(keys, args) redis.call('SET', keys[1], 'x') "
        b"return redis.call('GET', 's2') end)",
        b"#!lua name=two\nredis.register_function{function_name='reads', flags={'no-writes'}, "
        b"callback=function(keys, args) return redis.call('EXISTS', keys[1], 'absent') end}",
        b"#!lua name=two\nredis.register_function('echo', function() return 'two' end)",
        b"#!lua name=two",
        b"x",
    ],
    "sha": [b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db", b"x"],
}
ALPHABETS["sha"] += [hashlib.sha1(script).hexdigest().encode() for script in ALPHABETS["script"]]

OPTIONS: dict[str, tuple[int | str, int | str]] = {
    "hash-max-listpack-entries": (128, 3),
    "hash-max-listpack-value": (64, 20),
    "list-max-listpack-size": (-2, 3),
    "set-max-intset-entries": (512, 3),
    "set-max-listpack-entries": (128, 4),
    "set-max-listpack-value": (64, 20),
    "zset-max-listpack-entries": (128, 3),
    "zset-max-listpack-value": (64, 20),
    "stream-node-max-entries": (100, 3),
    "stream-node-max-bytes": (4096, 200),
}
