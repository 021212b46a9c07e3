"""The table of argument shapes: every command of the groups of types with every option.

| notation | meaning |
|---|---|
| `WORD` | itself, in either case |
| `name` | one of the alphabet of that name (`alphabets.py`) |
| `[...]` | there or not |
| `(a \\| b)` | one of these |
| `{...}` | once or more often |
| `#{...}` | how often, then so often |
| `a ; b` | two requests; `@` is the first key of the one before |

Commands that choose by chance are
followed by DEL, so that both servers go on with the same contents.
"""

STRINGS = """
APPEND string text
DECR string
DECRBY string integer
GET string
GETDEL string
GETEX string [(EX seconds | PX millis | EXAT moment | PXAT moment | PERSIST)]
GETRANGE string index index
GETSET string text
INCR string
INCRBY string integer
INCRBYFLOAT string float
LCS string string [LEN] [IDX] [MINMATCHLEN count] [WITHMATCHLEN]
MGET {string}
MSET {string text}
MSETNX {string text}
PSETEX string millis text
SET string text [(NX | XX)] [GET] [(EX seconds | PX millis | EXAT moment | PXAT moment | KEEPTTL)]
SET string text
SET string integer
SETEX string seconds text
SETNX string text
SETRANGE string offset text
STRLEN string
SUBSTR string index index
"""

BITMAPS = """
BITCOUNT string [index index [(BYTE | BIT)]]
BITFIELD string [{(GET bits place | SET bits place integer | INCRBY bits place integer | OVERFLOW (WRAP | SAT | FAIL))}]
BITFIELD_RO string [{GET bits place}]
BITOP (AND | OR | XOR | NOT) string {string}
BITPOS string bit [index [index [(BYTE | BIT)]]]
GETBIT string offset
SETBIT string offset bit
"""

HYPERLOGLOGS = """
PFADD hyperloglog [{member}]
PFCOUNT {hyperloglog}
PFDEBUG (TODENSE | ENCODING | DECODE) hyperloglog
PFMERGE hyperloglog [{hyperloglog}]
"""

LISTS = """
BLMOVE list list (LEFT | RIGHT) (LEFT | RIGHT) timeout
BLMPOP timeout #{list} (LEFT | RIGHT) [COUNT count]
BLPOP {list} timeout
BRPOP {list} timeout
BRPOPLPUSH list list timeout
LINDEX list element
LINSERT list (BEFORE | AFTER) member member
LLEN list
LMOVE list list (LEFT | RIGHT) (LEFT | RIGHT)
LMPOP #{list} (LEFT | RIGHT) [COUNT count]
LPOP list [count]
LPOS list member [RANK index] [COUNT count] [MAXLEN count]
LPUSH list {member}
LPUSH list {text}
LPUSHX list {member}
LRANGE list index index
LREM list index member
LSET list element member
LTRIM list index index
RPOP list [count]
RPOPLPUSH list list
RPUSH list {member}
RPUSH list {integer}
RPUSHX list {text}
"""

SETS = """
SADD set {member}
SADD set {integer}
SADD set {text}
SCARD set
SDIFF {set}
SDIFFSTORE set {set}
SINTER {set}
SINTERCARD #{set} [LIMIT count]
SINTERSTORE set {set}
SISMEMBER set member
SMEMBERS set
SMISMEMBER set {member}
SMOVE set set member
SPOP set all
SPOP set [count] ; DEL @
SRANDMEMBER set [count]
SREM set {member}
SSCAN set cursor [MATCH pattern] COUNT 1000
SUNION {set}
SUNIONSTORE set {set}
"""

SORTED_SETS = """
BZMPOP timeout #{zset} (MIN | MAX) [COUNT count]
BZPOPMAX {zset} timeout
BZPOPMIN {zset} timeout
ZADD zset {score member}
ZADD zset {score member}
ZADD zset {score text}
ZADD zset [(NX | XX)] [(GT | LT)] [CH] [INCR] {score member}
ZCARD zset
ZCOUNT zset bound bound
ZDIFF #{zset} [WITHSCORES]
ZDIFFSTORE zset #{zset}
ZINCRBY zset score member
ZINTER #{zset} [WEIGHTS {score}] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]
ZINTER #{(zset | set)} [WITHSCORES]
ZINTERCARD #{zset} [LIMIT count]
ZINTERSTORE zset #{(zset | set)} [WEIGHTS {score}] [AGGREGATE (SUM | MIN | MAX)]
ZMPOP #{zset} (MIN | MAX) [COUNT count]
ZMSCORE zset {member}
ZPOPMAX zset [count]
ZPOPMIN zset [count]
ZRANDMEMBER zset [count [WITHSCORES]]
ZRANGE zset index index [REV] [LIMIT skip index] [WITHSCORES]
ZRANGE zset bound bound BYSCORE [REV] [LIMIT skip index] [WITHSCORES]
ZRANGEBYSCORE zset bound bound [WITHSCORES] [LIMIT skip index]
ZRANGESTORE zset zset index index [REV]
ZRANGESTORE zset zset bound bound BYSCORE [REV] [LIMIT skip index]
ZRANK zset member [WITHSCORE]
ZREM zset {member}
ZREMRANGEBYRANK zset index index
ZREMRANGEBYSCORE zset bound bound
ZREVRANGE zset index index [WITHSCORES]
ZREVRANGEBYSCORE zset bound bound [WITHSCORES] [LIMIT skip index]
ZREVRANK zset member [WITHSCORE]
ZSCAN zset cursor [MATCH pattern] COUNT 1000
ZSCORE zset member
ZUNION #{(zset | set)} [WEIGHTS {score}] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]
ZUNIONSTORE zset #{(zset | set)} [WEIGHTS {score}] [AGGREGATE (SUM | MIN | MAX)]
"""

# Names are in order where all scores are the same, so these are played alone.
LEX = """
ZADD lexset {zero member}
ZADD lexset {zero member}
ZADD lexset {zero text}
ZDIFFSTORE lexset #{lexset}
ZLEXCOUNT lexset lex lex
ZPOPMIN lexset [count]
ZRANGE lexset index index
ZRANGE lexset lex lex BYLEX [REV] [LIMIT skip index] [WITHSCORES]
ZRANGEBYLEX lexset lex lex [LIMIT skip index]
ZRANGESTORE lexset lexset lex lex BYLEX [REV] [LIMIT skip index]
ZRANK lexset member
ZREM lexset {member}
ZREMRANGEBYLEX lexset lex lex
ZREVRANGEBYLEX lexset lex lex [LIMIT skip index]
ZUNIONSTORE lexset #{lexset}
"""

GEO = """
GEOADD geo {longitude latitude member}
GEOADD geo {longitude latitude member}
GEOADD geo [(NX | XX)] [CH] {longitude latitude member}
GEODIST geo member member [unit]
GEOHASH geo [{member}]
GEOPOS geo [{member}]
GEORADIUS geo longitude latitude radius unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count] [(ASC | DESC)]
GEORADIUS geo longitude latitude radius unit [COUNT count] [(ASC | DESC)] [(STORE geo | STOREDIST geo)]
GEORADIUSBYMEMBER geo member radius unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count] [(ASC | DESC)]
GEORADIUSBYMEMBER geo member radius unit [COUNT count] [(ASC | DESC)] [(STORE geo | STOREDIST geo)]
GEORADIUSBYMEMBER_RO geo member radius unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count] [(ASC | DESC)]
GEORADIUS_RO geo longitude latitude radius unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count] [(ASC | DESC)]
GEOSEARCH geo (FROMMEMBER member | FROMLONLAT longitude latitude) (BYRADIUS radius unit | BYBOX radius radius unit) \
[(ASC | DESC)] [COUNT count] [WITHCOORD] [WITHDIST] [WITHHASH]
GEOSEARCHSTORE geo geo (FROMMEMBER member | FROMLONLAT longitude latitude) \
(BYRADIUS radius unit | BYBOX radius radius unit) [(ASC | DESC)] [COUNT count] [STOREDIST]
"""

HASHES = """
HDEL hash {field}
HEXISTS hash field
HEXPIRE hash seconds [(NX | XX | GT | LT)] FIELDS #{field}
HEXPIREAT hash moment [(NX | XX | GT | LT)] FIELDS #{field}
HEXPIRETIME hash FIELDS #{field}
HGET hash field
HGETALL hash
HGETDEL hash FIELDS #{field}
HGETEX hash [(EX seconds | PX millis | EXAT moment | PXAT moment | PERSIST)] FIELDS #{field}
HINCRBY hash field integer
HINCRBYFLOAT hash field float
HKEYS hash
HLEN hash
HMGET hash {field}
HMSET hash {field text}
HPERSIST hash FIELDS #{field}
HPEXPIRE hash millis [(NX | XX | GT | LT)] FIELDS #{field}
HPEXPIREAT hash moment [(NX | XX | GT | LT)] FIELDS #{field}
HPEXPIRETIME hash FIELDS #{field}
HPTTL hash FIELDS #{field}
HRANDFIELD hash [count [WITHVALUES]]
HSCAN hash cursor [MATCH pattern] COUNT 1000 [NOVALUES]
HSET hash {field text}
HSET hash {field text}
HSET hash {field integer}
HSETEX hash [(FNX | FXX)] [(EX seconds | PX millis | EXAT moment | PXAT moment | KEEPTTL)] FIELDS #{field text}
HSETNX hash field text
HSTRLEN hash field
HTTL hash FIELDS #{field}
HVALS hash
"""

STREAMS = """
XACK stream group {id}
XADD stream [NOMKSTREAM] [(MAXLEN | MINID) [(= | ~)] count [LIMIT count]] id {field text}
XADD stream rising {field text}
XADD stream rising {field text}
XAUTOCLAIM stream group consumer idle id [COUNT count] [JUSTID]
XCLAIM stream group consumer idle {id} [IDLE idle] [TIME moment] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]
XDEL stream {id}
XGROUP CREATE stream group from [MKSTREAM] [ENTRIESREAD count]
XGROUP CREATE stream group from MKSTREAM
XGROUP CREATECONSUMER stream group consumer
XGROUP DELCONSUMER stream group consumer
XGROUP DESTROY stream group
XGROUP SETID stream group from [ENTRIESREAD count]
XINFO CONSUMERS stream group
XINFO GROUPS stream
XINFO STREAM stream [FULL [COUNT count]]
XLEN stream
XPENDING stream group [[IDLE idle] edge edge count [consumer]]
XRANGE stream edge edge [COUNT count]
XREAD [COUNT count] [BLOCK wait] STREAMS stream id
XREAD [COUNT count] STREAMS stream stream (id | $ | +) (id | $ | +)
XREADGROUP GROUP group consumer [COUNT count] [NOACK] STREAMS stream (> | id)
XREADGROUP GROUP group consumer [COUNT count] STREAMS stream >
XREADGROUP GROUP group consumer [COUNT count] [BLOCK wait] [NOACK] STREAMS stream >
XREADGROUP GROUP group consumer [COUNT count] STREAMS stream stream (> | id) (> | id)
XREVRANGE stream edge edge [COUNT count]
XSETID stream id [ENTRIESADDED count] [MAXDELETEDID id]
XTRIM stream (MAXLEN | MINID) [(= | ~)] count [LIMIT count]
"""

KEYS = """
COPY key key [DB database] [REPLACE]
DEL {key}
DBSIZE
EXISTS {key}
EXPIRE key seconds [(NX | XX | GT | LT)]
EXPIREAT key moment [(NX | XX | GT | LT)]
EXPIRETIME key
KEYS pattern
MOVE key database
OBJECT ENCODING key
OBJECT FREQ key
PERSIST key
PEXPIRE key millis [(NX | XX | GT | LT)]
PEXPIREAT key moment [(NX | XX | GT | LT)]
PEXPIRETIME key
PTTL key
RANDOMKEY
RENAME key key
RENAMENX key key
SCAN cursor [MATCH pattern] [TYPE type] COUNT 1000
SORT (list | set | zset) [BY by] [LIMIT index index] [{GET get}] [(ASC | DESC)] [ALPHA] [STORE list]
SORT_RO (list | set | zset) [BY by] [LIMIT index index] [{GET get}] [(ASC | DESC)] [ALPHA]
TOUCH {key}
TTL key
TYPE key
UNLINK {key}
WAIT 0 0
"""

DATABASES = """
RESTORE key left payload [REPLACE] [ABSTTL] [IDLETIME count] [FREQ count]
FUNCTION FLUSH [(SYNC | ASYNC)]
FLUSHALL [(SYNC | ASYNC)]
FLUSHDB [(SYNC | ASYNC)]
SELECT database
SWAPDB database database
"""

SESSION = """
DISCARD
ECHO text
EXEC
MULTI
PING [text]
UNWATCH
WATCH {key}
COMMAND GETKEYS MSET {key text}
COMMAND GETKEYS ZUNIONSTORE zset #{zset}
EVAL script #{key} {text}
EVAL_RO script #{key} {text}
EVALSHA sha #{key} {text}
EVALSHA_RO sha #{key} {text}
FCALL function #{key} {text}
FCALL_RO function #{key} {text}
FUNCTION DELETE library
FUNCTION LOAD [REPLACE] code
FUNCTION LOAD REPLACE code
PUBLISH text text
SCRIPT EXISTS {sha}
SCRIPT LOAD script
"""

GROUPS = {
    "string": STRINGS,
    "bitmap": BITMAPS,
    "hyperloglog": HYPERLOGLOGS,
    "list": LISTS,
    "set": SETS,
    "sorted-set": SORTED_SETS,
    "lex": LEX,
    "geo": GEO,
    "hash": HASHES,
    "stream": STREAMS,
    "generic": KEYS,
    "session": SESSION,
    "databases": DATABASES,
}

LEFT_OUT = {
    "dump": "its bytes may differ; the test restores them in the other server",
    "migrate": "needs another server",
    "object|idletime": "goes by the clock",
    "object|refcount": "which values are shared is nobody's business",
    "pfselftest": "takes seconds",
    "waitaof": "the log is no AOF",
    "wait": "there are no replicas",
}
