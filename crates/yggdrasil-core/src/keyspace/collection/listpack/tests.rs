use proptest::prelude::*;

use super::*;

fn texts(pack: Listpack<'_>) -> Vec<Vec<u8>> {
    pack.iter().map(Element::to_vec).collect()
}

fn pack_of(texts: &[Vec<u8>]) -> ListpackBuf {
    texts.iter().map(|text| Element::of(text)).collect()
}

/// Listpacks as Redis 8 has them in the payloads of its DUMP.
#[test]
fn the_format_is_that_of_redis() {
    for (element, entry) in [
        (&b""[..], &b"\x80\x01"[..]),
        (b"a", b"\x81a\x02"),
        (b"0", b"\x00\x01"),
        (b"127", b"\x7f\x01"),
        (b"128", b"\xc0\x80\x02"),
        (b"-1", b"\xdf\xff\x02"),
        (b"-4096", b"\xd0\x00\x02"),
        (b"4095", b"\xcf\xff\x02"),
        (b"4096", b"\xf1\x00\x10\x03"),
        (b"-32768", b"\xf1\x00\x80\x03"),
        (b"32768", b"\xf2\x00\x80\x00\x04"),
        (b"-8388608", b"\xf2\x00\x00\x80\x04"),
        (b"8388608", b"\xf3\x00\x00\x80\x00\x05"),
        (b"-2147483648", b"\xf3\x00\x00\x00\x80\x05"),
        (b"2147483648", b"\xf4\x00\x00\x00\x80\x00\x00\x00\x00\x09"),
        (
            b"-9223372036854775808",
            b"\xf4\x00\x00\x00\x00\x00\x00\x00\x80\x09",
        ),
        (b"9223372036854775808", b"\x939223372036854775808\x14"),
        (b"01", b"\x8201\x03"),
        (b"-0", b"\x82-0\x03"),
    ] {
        let mut pack = ListpackBuf::new();
        pack.push_back(Element::of(element));
        let total = (EMPTY_BYTES + entry.len()) as u8;
        let expected = [&[total, 0, 0, 0, 1, 0], entry, &[0xff]].concat();
        assert_eq!(pack.bytes(), expected, "{element:?}");
        assert_eq!(
            Listpack::parse(&expected).unwrap().get(0),
            Some(Element::of(element))
        );
        assert_eq!(Element::of(element).packed_len(), entry.len());
    }
}

/// The bytes of the length behind an entry, at each bound.
#[test]
fn lengths_are_as_long_as_in_redis() {
    for (text_len, head, back) in [
        (63, &[0xbf][..], &[64][..]),
        (64, &[0xe0, 64], &[66]),
        (125, &[0xe0, 125], &[127]),
        (126, &[0xe0, 126], &[1, 0x80]),
        (4095, &[0xef, 0xff], &[32, 0x81]),
        (4096, &[0xf0, 0, 16, 0, 0], &[32, 0x85]),
        (16_377, &[0xf0, 0xf9, 0x3f, 0, 0], &[127, 0xfe]),
        (16_378, &[0xf0, 0xfa, 0x3f, 0, 0], &[0, 0xff, 0xff]),
        (2_097_145, &[0xf0, 0xf9, 0xff, 0x1f, 0], &[127, 0xff, 0xfe]),
        (
            2_097_146,
            &[0xf0, 0xfa, 0xff, 0x1f, 0],
            &[0, 0xff, 0xff, 0xff],
        ),
    ] {
        let text = vec![b'x'; text_len];
        let pack = pack_of(&[b"before".to_vec(), text.clone(), b"behind".to_vec()]);
        let entry = [head, &text, back].concat();
        assert_eq!(pack.bytes()[14..14 + entry.len()], entry, "{text_len}");
        let view = Listpack::parse(pack.bytes()).unwrap();
        assert_eq!(view.get(-2), Some(Element::Str(&text)));
        assert_eq!(view.get(-3), Some(Element::Str(b"before")));
    }
}

#[test]
fn damaged_packs_are_refused() {
    for (bytes, error) in [
        (&b""[..], ListpackError::Short(0)),
        (b"\x06\0\0\0\0\0", ListpackError::Short(6)),
        (b"\x08\0\0\0\0\0\xff", ListpackError::Total(7)),
        (b"\x07\0\0\0\0\0\0", ListpackError::End),
        (b"\x07\0\0\0\x01\0\xff", ListpackError::Count(0)),
        (b"\x09\0\0\0\x00\0\x01\x01\xff", ListpackError::Count(1)),
        (b"\x09\0\0\0\x01\0\x01\x02\xff", ListpackError::Entry(6)),
        (b"\x09\0\0\0\x01\0\x82\x02\xff", ListpackError::Entry(6)),
        (b"\x09\0\0\0\x01\0\xf5\x01\xff", ListpackError::Entry(6)),
        (b"\x09\0\0\0\x01\0\xff\x01\xff", ListpackError::Entry(6)),
        (
            b"\x0b\0\0\0\x01\0\xf0\xff\xff\xff\xff",
            ListpackError::Entry(6),
        ),
    ] {
        let found = Listpack::parse(bytes).map(Listpack::len);
        assert_eq!(found, Err(error), "{bytes:?}");
    }
}

/// Redis writes all ones where a pack has too many elements to tell, and counts them.
#[test]
fn many_elements_are_counted() {
    let mut pack = ListpackBuf::new();
    for number in 0..65_534 {
        pack.push_back(Element::Int(number));
    }
    assert_eq!(pack.bytes()[4..6], [0xfe, 0xff]);
    pack.push_front(Element::Int(-1));
    assert_eq!(pack.bytes()[4..6], [0xff, 0xff]);
    assert_eq!(Listpack::parse(pack.bytes()).unwrap().len(), 65_535);
    assert_eq!(pack.view().get(-1), Some(Element::Int(65_533)));
    assert_eq!(pack.view().get(65_534), Some(Element::Int(65_533)));
    assert_eq!(pack.view().get(65_535), None);
    assert_eq!(pack.remove(pack.view().first().unwrap(), 2), 2);
    assert_eq!(pack.bytes()[4..6], [0xff, 0xff]);
    assert_eq!(pack.view().len(), 65_533);
    let behind = pack.split_off(pack.view().seek(10).unwrap());
    assert_eq!(pack.bytes()[4..6], [10, 0]);
    assert_eq!(behind.view().len(), 65_523);
    assert_eq!(behind.view().get(0), Some(Element::Int(11)));
}

#[test]
fn fields_are_found_between_values() {
    let pack: ListpackBuf = ["a", "b", "b", "12", "12", "c"]
        .map(|text| Element::of(text.as_bytes()))
        .into_iter()
        .collect();
    let view = pack.view();
    let first = view.first().unwrap();
    assert_eq!(view.find(Element::of(b"b"), first, 1), view.seek(2));
    assert_eq!(view.find(Element::of(b"b"), first, 0), view.seek(1));
    assert_eq!(view.find(Element::of(b"12"), first, 1), view.seek(4));
    assert_eq!(view.find(Element::of(b"c"), first, 1), None);
    assert_eq!(view.find(Element::of(b"c"), first, 4), view.seek(5));
    assert_eq!(view.find(Element::of(b"a"), view.end(), 0), None);
}

/// In packs so long that they are searched for the bytes of a text first.
#[test]
fn texts_are_found_among_many() {
    // What is absent may stand within another text, and an entry may have its length in more bytes than it needs.
    let mut body = b"\x86before\x07\x85x7f3y\x06".to_vec();
    for number in 0..40 {
        body.extend([0x83, b'f', b'0' + number / 10, b'0' + number % 10, 4]);
    }
    body.extend(b"\xe0\x04long\x06");
    let total = (EMPTY_BYTES + body.len()) as u32;
    let bytes = [&total.to_le_bytes()[..], &[43, 0], &body, &[END]].concat();
    let view = Listpack::parse(&bytes).unwrap();
    assert!(bytes.len() > SCANNED_BYTES_MIN);
    for index in 0..view.len() as i64 {
        let element = view.get(index).unwrap();
        assert_eq!(view.find(element, HEADER_BYTES, 0), view.seek(index));
    }
    for absent in [&b"7f3"[..], b"efore", b"f40", b"lon", b"\x04", b""] {
        assert_eq!(view.find(Element::Str(absent), HEADER_BYTES, 0), None);
    }
    let field = view.find(Element::Str(b"f38"), HEADER_BYTES, 1);
    assert_eq!(field, view.seek(40));
    assert_eq!(view.find(Element::Str(b"f39"), HEADER_BYTES, 1), None);
}

/// Others may store a number as text; it is equal all the same.
#[test]
fn numbers_as_text_are_equal_to_numbers() {
    let bytes = b"\x0b\0\0\0\x01\0\x8212\x03\xff";
    let view = Listpack::parse(bytes).unwrap();
    assert_eq!(view.find(Element::Int(12), 6, 0), Some(6));
    assert_ne!(Element::Str(b"012"), Element::Int(12));
}

#[derive(Clone, Debug)]
enum Change {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
    Split(usize),
    Append(Vec<Vec<u8>>),
    Prepend(Vec<Vec<u8>>),
    Room(usize, usize),
    Shrink,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..8),
        1 => prop::collection::vec(any::<u8>(), 60..68),
        1 => prop::collection::vec(any::<u8>(), 120..130),
        1 => (4090..4100_usize).prop_map(|len| vec![b'y'; len]),
        1 => (16_370..16_390_usize).prop_map(|len| vec![b'z'; len]),
        2 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        2 => any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        2 => (-5000..5000_i32).prop_map(|number| number.to_string().into_bytes()),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let texts = || prop::collection::vec(text(), 0..4);
    prop_oneof![
        4 => text().prop_map(Change::PushBack),
        4 => text().prop_map(Change::PushFront),
        4 => (any::<usize>(), text()).prop_map(|(at, text)| Change::Insert(at, text)),
        2 => (any::<usize>(), text()).prop_map(|(at, text)| Change::Replace(at, text)),
        2 => (any::<usize>(), 0..4_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => any::<usize>().prop_map(Change::Split),
        1 => texts().prop_map(Change::Append),
        1 => texts().prop_map(Change::Prepend),
        4 => (0..40_usize, 0..3000_usize).prop_map(|(bytes, most)| Change::Room(bytes, most)),
        1 => Just(Change::Shrink),
    ]
}

/// The place of an element by its number, where the end has a number, too.
fn place(pack: &ListpackBuf, index: usize) -> usize {
    let view = pack.view();
    view.seek(index as i64).unwrap_or(view.end())
}

fn apply(change: Change, pack: &mut ListpackBuf, model: &mut Vec<Vec<u8>>) {
    match change {
        Change::PushBack(text) => {
            pack.push_back(Element::of(&text));
            model.push(text);
        }
        Change::PushFront(text) => {
            pack.push_front(Element::of(&text));
            model.insert(0, text);
        }
        Change::Insert(at, text) => {
            let index = at % (model.len() + 1);
            pack.insert(place(pack, index), Element::of(&text));
            model.insert(index, text);
        }
        Change::Replace(at, text) => {
            let index = at % (model.len() + 1);
            pack.replace(place(pack, index), Element::of(&text));
            if let Some(old) = model.get_mut(index) {
                *old = text;
            }
        }
        Change::Remove(at, count) => {
            let index = at % (model.len() + 1);
            let end = model.len().min(index + count);
            assert_eq!(pack.remove(place(pack, index), count), end - index);
            model.drain(index..end);
        }
        Change::Split(at) => {
            let index = at % (model.len() + 1);
            let behind = pack.split_off(place(pack, index));
            assert_eq!(
                texts(Listpack::parse(behind.bytes()).unwrap()),
                model[index..]
            );
            model.truncate(index);
        }
        Change::Append(more) => {
            pack.append(pack_of(&more).view());
            model.extend(more);
        }
        Change::Prepend(more) => {
            pack.prepend(pack_of(&more).view());
            model.splice(0..0, more);
        }
        Change::Room(bytes, most) => pack.make_room_in_front(bytes, most),
        Change::Shrink => {
            pack.shrink_to_fit();
            assert_eq!(pack.capacity(), pack.bytes().len());
        }
    }
}

#[test]
fn what_comes_and_goes_in_front_moves_nothing_behind() {
    let mut pack = pack_of(&vec![b"element".to_vec(); 100]);
    pack.make_room_in_front(20, 4096);
    let end = |pack: &ListpackBuf| pack.bytes().as_ptr_range().end;
    let before = end(&pack);
    for _ in 0..20 {
        pack.push_front(Element::Str(b"another"));
    }
    assert_eq!(pack.remove(pack.view().first().unwrap(), 50), 50);
    assert_eq!(end(&pack), before);
    assert_eq!(Listpack::parse(pack.bytes()).unwrap().len(), 70);
}

proptest! {
    #[test]
    fn it_is_a_sequence(changes in prop::collection::vec(change(), 0..40), sought in text()) {
        let (mut pack, mut model) = (ListpackBuf::new(), Vec::new());
        for change in changes {
            apply(change, &mut pack, &mut model);
            let view = Listpack::parse(pack.bytes()).unwrap();
            prop_assert_eq!(view.len(), model.len());
            prop_assert_eq!(view.is_empty(), model.is_empty());
            prop_assert_eq!(&texts(view), &model);
        }
        let view = pack.view();
        let mut back: Vec<_> = view.iter().rev().map(Element::to_vec).collect();
        back.reverse();
        prop_assert_eq!(&back, &model);
        let len = model.len() as i64;
        for index in -len - 1..=len {
            let expected = if index < 0 { index + len } else { index };
            let expected = usize::try_from(expected).ok().and_then(|index| model.get(index));
            prop_assert_eq!(view.get(index), expected.map(|text| Element::of(text)));
        }
        for sought in model.iter().chain([&sought]) {
            for skip in 0..3 {
                let expected = model.iter().step_by(skip + 1).position(|text| text == sought);
                let expected = expected.and_then(|index| view.seek((index * (skip + 1)) as i64));
                prop_assert_eq!(view.find(Element::of(sought), HEADER_BYTES, skip), expected);
            }
        }
        prop_assert_eq!(&pack_of(&model), &pack);
        prop_assert_eq!(pack_of(&model).into_bytes(), pack.into_bytes());
    }

    #[test]
    fn elements_say_their_lengths(text in text()) {
        let element = Element::of(&text);
        let pack = pack_of(std::slice::from_ref(&text));
        prop_assert_eq!(element.packed_len(), pack.bytes().len() - EMPTY_BYTES);
        prop_assert_eq!(element.text_len(), text.len());
        prop_assert_eq!(element.to_vec(), text);
    }

    #[test]
    fn both_ends_meet(texts in prop::collection::vec(text(), 0..10), turns: Vec<bool>) {
        let pack = pack_of(&texts);
        let (mut elements, mut expected) = (pack.view().iter(), texts.iter());
        for turn in turns {
            let (one, other) = if turn {
                (elements.next(), expected.next())
            } else {
                (elements.next_back(), expected.next_back())
            };
            prop_assert_eq!(one, other.map(|text| Element::of(text)));
        }
    }
}
