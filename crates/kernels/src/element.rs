//! Types of elements, as far as the coders have to tell them apart.

/// The type of the elements of a tensor.
///
/// The numbers are part of the format: a new type gets a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Element {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    U64 = 6,
    I64 = 7,
    F16 = 8,
    Bf16 = 9,
    F32 = 10,
    F64 = 11,
    F8E4m3 = 12,
    F8E5m2 = 13,
}

/// Names of the types, by number.
const NAMES: [(Element, &str); 14] = [
    (Element::U8, "u8"),
    (Element::I8, "i8"),
    (Element::U16, "u16"),
    (Element::I16, "i16"),
    (Element::U32, "u32"),
    (Element::I32, "i32"),
    (Element::U64, "u64"),
    (Element::I64, "i64"),
    (Element::F16, "f16"),
    (Element::Bf16, "bf16"),
    (Element::F32, "f32"),
    (Element::F64, "f64"),
    (Element::F8E4m3, "f8_e4m3"),
    (Element::F8E5m2, "f8_e5m2"),
];

/// The way in which the bits of an element are laid out before its bytes are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Nothing to change: unsigned integers, and whatever has one byte.
    Plain,
    /// Sign into the lowest bit, so that small values of either sign have zeros above.
    Zigzag,
    /// Rotated by one bit: the exponent comes to the top and the sign to the bottom.
    Rotated,
}

impl Element {
    pub fn all() -> impl Iterator<Item = (Self, &'static str)> {
        NAMES.into_iter()
    }

    pub fn from_code(code: u8) -> Option<Self> {
        NAMES.get(usize::from(code)).map(|&(element, _)| element)
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::all()
            .find(|&(_, candidate)| candidate == name)
            .map(|(element, _)| element)
    }

    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.code())].1
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::F8E4m3 | Self::F8E5m2 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(
            self,
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 | Self::F8E4m3 | Self::F8E5m2
        )
    }

    pub fn mapping(self) -> Mapping {
        match self {
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 => Mapping::Rotated,
            Self::I16 | Self::I32 | Self::I64 => Mapping::Zigzag,
            _ => Mapping::Plain,
        }
    }
}
