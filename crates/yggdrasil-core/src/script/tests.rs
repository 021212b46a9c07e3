//! The sandbox, without an engine: commands are answered by what they say.

use super::*;
use crate::resp::Args;

/// Runs a script whose commands are answered by an array of their arguments.
fn run_with(scripts: &mut Scripts, body: &str, protocol: Protocol) -> String {
    let script = match scripts.script_of(body.as_bytes(), false) {
        Ok(script) => script,
        Err(error) => return error,
    };
    let nothing = Args::new(b"", &[]);
    let given = Given {
        keys: nothing,
        arguments: nothing,
    };
    let mut run = scripts.start(Callee::Script(script), &given).unwrap();
    let mut slices = 0;
    let mut how = Resume::On;
    loop {
        match run.resume(how) {
            Ask::Done => break,
            Ask::Slice => {
                slices += 1;
                if slices > 10_000 {
                    how = Resume::Kill;
                }
            }
            Ask::Permission => run.answer(b":1\r\n".to_vec()),
            Ask::Command => {
                let request = run.take_request();
                let args = request.as_args();
                let mut answer = run.take_answer();
                if args.at(0) == b"fail" {
                    answer.extend_from_slice(b"-WRONGTYPE no\r\n");
                } else if args.at(0) == b"raw" {
                    answer.extend_from_slice(args.at(1));
                } else {
                    let mut reply = Reply::new(&mut answer, run.protocol());
                    reply.array(args.len());
                    args.iter().for_each(|arg| reply.bulk(arg));
                }
                run.answer(answer);
                run.give_request(request);
            }
        }
    }
    let mut out = Vec::new();
    scripts.finish(run, protocol, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn run(body: &str) -> String {
    run_with(&mut Scripts::new(64 << 20), body, Protocol::Resp2)
}

#[test]
fn values_become_replies() {
    assert_eq!(run("return 1"), ":1\r\n");
    assert_eq!(run("return 3.99"), ":3\r\n");
    assert_eq!(run("return 'a'"), "$1\r\na\r\n");
    assert_eq!(
        run("return {1,{2,'b'},nil,4}"),
        "*2\r\n:1\r\n*2\r\n:2\r\n$1\r\nb\r\n"
    );
    assert_eq!(run("return true"), ":1\r\n");
    assert_eq!(run("return false"), "$-1\r\n");
    assert_eq!(run("return {ok='FINE'}"), "+FINE\r\n");
    assert_eq!(run("return redis.error_reply('MY err')"), "-MY err\r\n");
    assert_eq!(run("return redis.status_reply('x')"), "+x\r\n");
    let mut scripts = Scripts::new(64 << 20);
    let body = "redis.setresp(3); return {map={a=1}}";
    assert_eq!(
        run_with(&mut scripts, body, Protocol::Resp3),
        "%1\r\n$1\r\na\r\n:1\r\n"
    );
    let body = "redis.setresp(3); return true";
    assert_eq!(run_with(&mut scripts, body, Protocol::Resp3), "#t\r\n");
}

#[test]
fn commands_are_asked_for() {
    assert_eq!(
        run("return redis.call('get', 'k', 1, 0.5)"),
        "*4\r\n$3\r\nget\r\n$1\r\nk\r\n$1\r\n1\r\n$3\r\n0.5\r\n"
    );
    assert!(run("return redis.call('fail')").starts_with("-WRONGTYPE no script: "));
    assert_eq!(run("return redis.pcall('fail')"), "-WRONGTYPE no\r\n");
    assert_eq!(
        run("return redis.pcall('fail')['err']"),
        "$12\r\nWRONGTYPE no\r\n"
    );
    assert_eq!(
        run("local ok, e = pcall(redis.call, 'fail'); return e"),
        "$12\r\nWRONGTYPE no\r\n"
    );
    // A script leaves its fiber below a protected call, and from a coroutine.
    assert_eq!(
        run("local ok, r = pcall(function() return redis.call('x') end); return r[1]"),
        "$1\r\nx\r\n"
    );
    assert_eq!(
        run("return coroutine.wrap(function() return redis.call('x') end)()[1]"),
        "$1\r\nx\r\n"
    );
}

#[test]
fn errors_say_where() {
    let error = run("x = 10");
    assert!(
        error.starts_with("-ERR user_script:1: Attempt to modify a readonly table script: "),
        "{error}"
    );
    assert!(error.ends_with(", on @user_script:1.\r\n"), "{error}");
    let error = run("return y");
    assert!(error.starts_with("-ERR user_script:1: Script attempted to access nonexistent global variable 'y' script: "), "{error}");
    assert_eq!(
        run("return 1 +"),
        "Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'"
    );
    assert!(
        run("string.rep()").contains("bad argument #1 to 'rep' (string expected, got no value)")
    );
    assert!(run("error('boo')").starts_with("-ERR user_script:1: boo script: "));
    assert!(run("error({err='My Err'})").starts_with("-My Err script: "));
}

#[test]
fn nothing_shared_can_be_changed() {
    let mut scripts = Scripts::new(64 << 20);
    for body in [
        "redis.call = 1",
        "_G.x = 1",
        "rawset(_G, 'x', 1)",
        "rawset(redis, 'call', 1)",
        "setmetatable(_G, {})",
        "setmetatable(string, {})",
        "table.insert(redis, 1)",
        "table.sort(redis)",
        "string.rep = nil",
        "getmetatable('').__index = 1",
        "rawset(getmetatable(''), '__index', 1)",
        "getmetatable('').__index.rep = 1",
        "KEYS = 1",
        "math.random = 1",
        "os.clock = 1",
    ] {
        let reply = run_with(&mut scripts, body, Protocol::Resp2);
        assert!(
            reply.contains("Attempt to modify a readonly table"),
            "{body}: {reply}"
        );
    }
    assert_eq!(
        run_with(
            &mut scripts,
            "return rawget(_G, 'x') == nil",
            Protocol::Resp2
        ),
        ":1\r\n"
    );
    assert_eq!(
        run_with(
            &mut scripts,
            "return loadstring('return type(redis)')()",
            Protocol::Resp2
        ),
        "$5\r\ntable\r\n"
    );
    assert_eq!(
        run_with(
            &mut scripts,
            "return getmetatable(redis) == nil",
            Protocol::Resp2
        ),
        ":1\r\n"
    );
}

#[test]
fn the_system_is_out_of_reach() {
    for name in [
        "io", "require", "package", "debug", "dofile", "loadfile", "print", "newproxy", "module",
        "setfenv", "getfenv",
    ] {
        let reply = run(&format!("return {name}"));
        assert!(
            reply.contains("nonexistent global variable"),
            "{name}: {reply}"
        );
    }
    assert_eq!(
        run("local t = {} for k in pairs(os) do t[#t+1] = k end return t"),
        "*1\r\n$5\r\nclock\r\n"
    );
    assert_eq!(run("return loadstring('\\27Lua') == nil"), ":1\r\n");
    assert_eq!(
        run("return type(load(function() return nil end))"),
        "$8\r\nfunction\r\n"
    );
    let reply = run("local f = string.dump(function() end); local g, e = loadstring(f); return e");
    assert!(reply.contains("precompiled code"), "{reply}");
}

#[test]
fn endless_scripts_are_killed() {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() return f() end f()",
        "coroutine.wrap(function() while true do end end)()",
        "while true do redis.pcall('x') end",
    ] {
        let reply = run(body);
        assert!(
            reply.contains("Script killed by user with SCRIPT KILL"),
            "{body}: {reply}"
        );
    }
    // The fiber is as good as new.
    let mut scripts = Scripts::new(64 << 20);
    run_with(&mut scripts, "while true do end", Protocol::Resp2);
    assert_eq!(
        run_with(
            &mut scripts,
            "local n = 0 for i = 1, 1e6 do n = n + 1 end return n",
            Protocol::Resp2
        ),
        ":1000000\r\n"
    );
}

#[test]
fn memory_has_a_limit() {
    let mut scripts = Scripts::new(8 << 20);
    for body in [
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t+1] = {} end",
        "return string.rep('x', 1e9)",
    ] {
        let reply = run_with(&mut scripts, body, Protocol::Resp2);
        assert!(reply.contains("not enough memory"), "{body}: {reply}");
    }
    assert_eq!(
        run_with(&mut scripts, "collectgarbage() return 1", Protocol::Resp2),
        ":1\r\n"
    );
    assert!(scripts.interpreter_bytes() < 8 << 20);
}

#[test]
fn deep_recursion_ends() {
    // Frames of builds with assertions are larger than a thread of a test has room for.
    let room = std::thread::Builder::new().stack_size(64 << 20);
    room.spawn(check_deep_recursion).unwrap().join().unwrap();
}

fn check_deep_recursion() {
    assert!(run("local function f() return 1 + f() end return f()").contains("stack overflow"));
    assert!(run("local t = {} t.t = t return cjson.encode(t)").contains("excessive nesting"));
    assert!(run("local t = {} t[1] = t return t").contains("reached lua stack limit"));
    assert!(
        run("return string.find(string.rep('a', 40000), string.rep('a?', 40000))")
            .contains("pattern too complex")
    );
    assert!(run("return cjson.decode(string.rep('[', 100000))").contains("too many nested"));
    assert!(
        run("return #cmsgpack.pack(cmsgpack.unpack(string.rep('\\145', 100000)))")
            .contains("stack overflow")
    );
    let reply = run(
        "local s = 'return ' .. string.rep('(', 10000) .. '1' .. string.rep(')', 10000) local f, e = loadstring(s) return e",
    );
    assert!(
        reply.contains("chunk has too many syntax levels"),
        "{reply}"
    );
}

#[test]
fn scripts_run_beside_each_other() {
    let mut scripts = Scripts::new(64 << 20);
    let script = scripts
        .script_of(
            b"local a = redis.call('x', KEYS[1]) return {a[2], KEYS[1]}",
            false,
        )
        .unwrap();
    let start = |scripts: &mut Scripts, key: &str| {
        let keys: ArgsBuffer = [key.as_bytes()].into_iter().collect();
        let given = Given {
            keys: keys.as_args(),
            arguments: Args::new(b"", &[]),
        };
        scripts
            .start(Callee::Script(Rc::clone(&script)), &given)
            .unwrap()
    };
    let mut runs = [start(&mut scripts, "a"), start(&mut scripts, "b")];
    for run in &mut runs {
        assert_eq!(run.resume(Resume::On), Ask::Command);
    }
    for (mut run, key) in runs.into_iter().zip(["a", "b"]) {
        run.answer(b"*2\r\n$1\r\nx\r\n$1\r\nz\r\n".to_vec());
        assert_eq!(run.resume(Resume::On), Ask::Done);
        let mut out = Vec::new();
        scripts.finish(run, Protocol::Resp2, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("*2\r\n$1\r\nz\r\n$1\r\n{key}\r\n")
        );
    }
}

#[test]
fn libraries_are_loaded_and_replaced() {
    let mut scripts = Scripts::new(64 << 20);
    let code = |name: &str, function: &str| {
        format!(
            "#!lua name={name}\nredis.register_function('{function}', function(keys, args) return 7 end)"
        )
    };
    assert_eq!(
        scripts
            .load_library(code("a", "f").as_bytes(), false)
            .unwrap(),
        b"a"
    );
    assert_eq!(
        scripts
            .load_library(code("a", "f").as_bytes(), false)
            .unwrap_err(),
        "Library 'a' already exists"
    );
    assert_eq!(
        scripts
            .load_library(code("b", "f").as_bytes(), false)
            .unwrap_err(),
        "Function f already exists"
    );
    assert_eq!(
        scripts
            .load_library(code("a", "g").as_bytes(), true)
            .unwrap(),
        b"a"
    );
    assert!(scripts.libraries.find(b"f").is_none());
    let function = scripts.libraries.find(b"g").unwrap();
    let nothing = Args::new(b"", &[]);
    let given = Given {
        keys: nothing,
        arguments: nothing,
    };
    let mut run = scripts.start(Callee::Function(function), &given).unwrap();
    assert!(scripts.delete_library(b"a"));
    assert_eq!(run.resume(Resume::On), Ask::Done);
    let mut out = Vec::new();
    scripts.finish(run, Protocol::Resp2, &mut out);
    assert_eq!(out, b":7\r\n");
    for (code, error) in [
        (
            "#!lua name=x\nredis.call('get')",
            "Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'call'",
        ),
        (
            "#!lua name=x\nx = 1",
            "Error registering functions: ERR user_function:2: Attempt to modify a readonly table",
        ),
        ("#!lua name=x\nreturn 1", "No functions registered"),
        (
            "#!lua name=x\nwhile true do end",
            "Error registering functions: ERR FUNCTION LOAD timeout",
        ),
    ] {
        assert_eq!(
            scripts.load_library(code.as_bytes(), false).unwrap_err(),
            error
        );
    }
}

#[test]
fn a_function_that_ran_to_its_end_without_its_library_takes_nothing_from_scripts() {
    let mut scripts = Scripts::new(64 << 20);
    let code = |name: &str| {
        format!("#!lua name={name}\nredis.register_function('{name}', function() return 7 end)")
    };
    scripts.load_library(code("a").as_bytes(), false).unwrap();
    let function = scripts.libraries.find(b"a").unwrap();
    let nothing = Args::new(b"", &[]);
    let given = Given {
        keys: nothing,
        arguments: nothing,
    };
    let mut run = scripts.start(Callee::Function(function), &given).unwrap();
    assert!(scripts.delete_library(b"a"));
    assert_eq!(run.resume(Resume::On), Ask::Done);
    scripts.finish(run, Protocol::Resp2, &mut Vec::new());
    // The interpreter is another one from here on.
    scripts.flush();
    scripts.script_of(b"return 1", true).unwrap();
    scripts.load_library(code("b").as_bytes(), false).unwrap();
    assert_eq!(
        run_with(&mut scripts, "return 1", Protocol::Resp2),
        ":1\r\n"
    );
}

#[test]
fn texts_and_numbers_are_packed() {
    assert_eq!(
        run("return cjson.encode({1,2,{a='b\\n'}})"),
        "$17\r\n[1,2,{\"a\":\"b\\n\"}]\r\n"
    );
    assert_eq!(
        run("return cjson.encode(cjson.decode('{\"a\":[1,2.5,null,true]}'))"),
        "$23\r\n{\"a\":[1,2.5,null,true]}\r\n"
    );
    assert_eq!(
        run("return cmsgpack.unpack(cmsgpack.pack({1,'a',-5}))"),
        "*3\r\n:1\r\n$1\r\na\r\n:-5\r\n"
    );
    assert_eq!(
        run("return struct.pack('>I2', 258)"),
        "$2\r\n\u{1}\u{2}\r\n"
    );
    assert_eq!(
        run("return {struct.unpack('<i4', struct.pack('<i4', -2))}"),
        "*2\r\n:-2\r\n:5\r\n"
    );
    assert_eq!(
        run("return bit.tohex(bit.bxor(0xff, 0x0f))"),
        "$8\r\n000000f0\r\n"
    );
    assert_eq!(
        run("return redis.sha1hex('')"),
        "$40\r\nda39a3ee5e6b4b0d3255bfef95601890afd80709\r\n"
    );
}
