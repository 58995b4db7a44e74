//! Unpacks a body. What comes out is bounded, as what comes in is.

use std::io::Read;

/// The bytes of a body that is packed as `compression` says.
pub fn unpack(body: Vec<u8>, compression: Option<&str>, bytes_max: usize) -> Result<Vec<u8>, String> {
    match compression {
        None => Ok(body),
        Some("gzip") => read(flate2::read::MultiGzDecoder::new(body.as_slice()), bytes_max),
        Some("lz4_frame") => read(lz4_flex::frame::FrameDecoder::new(body.as_slice()), bytes_max),
        Some("zstd") => {
            let decoder = zstd::stream::read::Decoder::new(body.as_slice()).map_err(|error| error.to_string())?;
            read(decoder, bytes_max)
        }
        Some(other) => Err(format!("unsupported compression: {other}")),
    }
}

fn read(decoder: impl Read, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limit = bytes_max as u64 + 1;
    decoder.take(limit).read_to_end(&mut bytes).map_err(|error| format!("decompress failed: {error}"))?;
    if bytes.len() > bytes_max { Err(format!("unpacked body exceed limit: {bytes_max}")) } else { Ok(bytes) }
}
