//! Every implementation against the definition of the classes, byte by byte.

use super::*;

fn check<V: Vector>(vector: V) {
    for class_byte in 0..=255u8 {
        for at in 0..BLOCK {
            let mut block = [b'a'; BLOCK];
            block[at] = class_byte;
            let what = format!("{class_byte:#x} at {at}");
            assert_eq!(vector.masks(&block), Scalar.masks(&block), "{what}");
            let separators = Scalar.separators(&block);
            assert_eq!(vector.separators(&block), separators, "{what}");
        }
    }
    for len in 0..300 {
        for byte in [
            0, 9, 10, b' ', b'<', b'>', b'&', b'"', b'\'', b']', b':', b'z', 0x80, 255, b'\\',
            b'^', b'`', b'{', b'|', b'}', b'~', 0x1F,
        ] {
            let mut input = vec![b'a'; len];
            if len > 0 {
                input[len / 2] = byte;
                input[len - 1] = byte;
            }
            for at in [0, 1, len / 2, (len / 2 + 1).min(len), len] {
                find_all(vector, &input, at);
            }
        }
    }
}

fn find_all<V: Vector>(vector: V, input: &[u8], at: usize) {
    fn one<const CLASS: u8, V: Vector>(vector: V, input: &[u8], at: usize) {
        let expected = (at..input.len()).find(|&i| stops(CLASS, input[i]));
        let expected = expected.unwrap_or(input.len());
        assert_eq!(
            vector.find::<CLASS>(input, at),
            expected,
            "class {CLASS} at {at}"
        );
    }
    one::<TEXT, V>(vector, input, at);
    one::<TEXT_WIDE, V>(vector, input, at);
    one::<VALUE, V>(vector, input, at);
    one::<VALUE_WIDE, V>(vector, input, at);
    one::<CDATA, V>(vector, input, at);
    one::<CDATA_WIDE, V>(vector, input, at);
    one::<NOT_SPACE, V>(vector, input, at);
    one::<NOT_NAME, V>(vector, input, at);
    one::<SEPARATOR, V>(vector, input, at);
    one::<STOP, V>(vector, input, at);
}

#[test]
fn every_byte_is_classified_alike() {
    for byte in 0..=255u8 {
        let input = [b'a', byte, b'a'].repeat(20);
        find_all(Scalar, &input, 0);
        #[cfg(target_arch = "x86_64")]
        {
            let wide = x86::Avx2::detect().into_iter();
            wide.for_each(|vector| find_all(vector, &input, 0));
            let narrow = x86::Ssse3::detect().into_iter();
            narrow.for_each(|vector| find_all(vector, &input, 0));
        }
    }
}

#[test]
fn every_implementation_classifies_alike() {
    check(Scalar);
    #[cfg(target_arch = "x86_64")]
    {
        x86::Avx2::detect().into_iter().for_each(check);
        x86::Ssse3::detect().into_iter().for_each(check);
    }
}
