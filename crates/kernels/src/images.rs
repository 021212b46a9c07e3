//! Images: JPEG files become pixels, and pixels others of another size.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::error::{KernelError, Result};

/// The largest width and height of an image.
pub const SIDE_MAX: usize = 1 << 15;

/// Pixels in rows, three bytes each: red, green, blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    pub width: usize,
    pub height: usize,
    pub bytes: Vec<u8>,
}

/// Decodes a JPEG file, and changes its size to `(width, height)` where one is given, by a bicubic filter.
pub fn decode_jpeg(file: &[u8], size: Option<(usize, usize)>) -> Result<Pixels> {
    let options = DecoderOptions::new_fast()
        .set_max_width(SIDE_MAX)
        .set_max_height(SIDE_MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    let bytes = decoder.decode().map_err(|_| BROKEN)?;
    let (width, height) = decoder.dimensions().ok_or(BROKEN)?;
    if bytes.len() != width * height * 3 {
        return Err(KernelError::Parameter(
            "the image has no pixels of three colours",
        ));
    }
    let pixels = Pixels {
        width,
        height,
        bytes,
    };
    match size {
        Some(size) if size != (width, height) => resized(&pixels, size),
        _ => Ok(pixels),
    }
}

const BROKEN: KernelError = KernelError::Parameter("this is no JPEG image that can be decoded");

fn resized(pixels: &Pixels, (width, height): (usize, usize)) -> Result<Pixels> {
    let side = |length: usize| {
        u32::try_from(length)
            .ok()
            .filter(|_| (1..=SIDE_MAX).contains(&length))
            .ok_or(KernelError::Parameter(
                "an image has 1 to 32768 pixels a side",
            ))
    };
    let source = ImageRef::new(
        side(pixels.width)?,
        side(pixels.height)?,
        &pixels.bytes,
        PixelType::U8x3,
    )
    .map_err(|_| BROKEN)?;
    let mut target = Image::new(side(width)?, side(height)?, PixelType::U8x3);
    let bicubic = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new()
        .resize(&source, &mut target, &bicubic)
        .map_err(|_| BROKEN)?;
    Ok(Pixels {
        width,
        height,
        bytes: target.into_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_colour_stays_that_colour_in_any_size() {
        let pixels = Pixels {
            width: 5,
            height: 3,
            bytes: [10, 200, 30].repeat(15),
        };
        let found = resized(&pixels, (2, 7)).expect("a size");
        assert_eq!((found.width, found.height), (2, 7));
        assert_eq!(found.bytes, [10, 200, 30].repeat(14));
        assert!(resized(&pixels, (0, 7)).is_err());
        assert!(resized(&pixels, (1, SIDE_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), jpeg in any::<bool>()) {
            let file = if jpeg { [&[0xff, 0xd8, 0xff, 0xe0][..], &bytes].concat() } else { bytes };
            prop_assert!(decode_jpeg(&file, None).is_err());
        }
    }
}
