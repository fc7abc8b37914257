//! Converts Arrow arrays to Polars arrays and back, without copying.
//!
//! Both use the memory layout of the Arrow format, with types of their own. Their C data interface is `unsafe` to read
//! on either side. Buffers owned by an array of the other side are safe and copy as little.
use arrow::array::types::{
    Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, DictionaryArray, LargeListArray, NullArray,
    PrimitiveArray, StringViewArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{ArrowDictionaryKeyType, DataType, Field};
use bytes::Bytes;
use polars_arrow::array as polars;
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::{ArrowDataType, IntegerType, TimeUnit};
use polars_arrow::offset::OffsetsBuffer;
use polars_arrow::types::NativeType;
use polars_buffer::Buffer as PolarsBuffer;
use std::sync::Arc;

/// Bytes borrowed from an owner of another type.
struct Lent<O, F>(O, F);

impl<O, F: Fn(&O) -> &[u8]> AsRef<[u8]> for Lent<O, F> {
    fn as_ref(&self) -> &[u8] {
        (self.1)(&self.0)
    }
}

/// Creates a buffer from the bytes that `bytes` returns of `owner`.
fn lent<O: Send + 'static>(owner: O, bytes: impl Fn(&O) -> &[u8] + Send + 'static) -> Buffer {
    Buffer::from(Bytes::from_owner(Lent(owner, bytes)))
}

/// Converts a Polars array in place: numbers, dates, timestamps, booleans, text, categories, and lists of these.
///
/// # Errors
/// Names a type that is none of these.
pub(super) fn from_polars(array: &dyn polars::Array) -> Result<ArrayRef, String> {
    use ArrowDataType as Is;
    match array.dtype() {
        Is::Null => Ok(Arc::new(NullArray::new(array.len()))),
        Is::Boolean => {
            let array = whole::<polars::BooleanArray>(array)?;
            Ok(Arc::new(BooleanArray::new(bits(array.values()), array.validity().map(nulls))))
        }
        Is::Int8 => Ok(Arc::new(numbers::<Int8Type>(array)?)),
        Is::Int16 => Ok(Arc::new(numbers::<Int16Type>(array)?)),
        Is::Int32 => Ok(Arc::new(numbers::<Int32Type>(array)?)),
        Is::Int64 => Ok(Arc::new(numbers::<Int64Type>(array)?)),
        Is::UInt8 => Ok(Arc::new(numbers::<UInt8Type>(array)?)),
        Is::UInt16 => Ok(Arc::new(numbers::<UInt16Type>(array)?)),
        Is::UInt32 => Ok(Arc::new(numbers::<UInt32Type>(array)?)),
        Is::UInt64 => Ok(Arc::new(numbers::<UInt64Type>(array)?)),
        Is::Float32 => Ok(Arc::new(numbers::<Float32Type>(array)?)),
        Is::Float64 => Ok(Arc::new(numbers::<Float64Type>(array)?)),
        Is::Date32 => Ok(Arc::new(numbers::<Date32Type>(array)?)),
        // The numbers are UTC, in whatever time zone they are shown.
        Is::Timestamp(TimeUnit::Second, _) => Ok(Arc::new(numbers::<TimestampSecondType>(array)?)),
        Is::Timestamp(TimeUnit::Millisecond, _) => Ok(Arc::new(numbers::<TimestampMillisecondType>(array)?)),
        Is::Timestamp(TimeUnit::Microsecond, _) => Ok(Arc::new(numbers::<TimestampMicrosecondType>(array)?)),
        Is::Timestamp(TimeUnit::Nanosecond, _) => Ok(Arc::new(numbers::<TimestampNanosecondType>(array)?)),
        Is::Utf8View => text(whole(array)?),
        Is::LargeList(_) => list(whole(array)?),
        Is::Dictionary(IntegerType::UInt8, ..) => categories::<UInt8Type>(array),
        Is::Dictionary(IntegerType::UInt16, ..) => categories::<UInt16Type>(array),
        Is::Dictionary(IntegerType::UInt32, ..) => categories::<UInt32Type>(array),
        other => Err(format!("holds {other:?}, which is not supported; cast it to text or numbers")),
    }
}

fn whole<A: 'static>(array: &dyn polars::Array) -> Result<&A, String> {
    array.as_any().downcast_ref().ok_or_else(|| format!("is {:?} by its type alone", array.dtype()))
}

fn bits(bitmap: &Bitmap) -> BooleanBuffer {
    let (_, offset, length) = bitmap.as_slice();
    BooleanBuffer::new(lent(bitmap.clone(), |bitmap| bitmap.as_slice().0), offset, length)
}

fn nulls(validity: &Bitmap) -> NullBuffer {
    NullBuffer::new(bits(validity))
}

fn numbers<T: ArrowPrimitiveType>(array: &dyn polars::Array) -> Result<PrimitiveArray<T>, String>
where
    T::Native: NativeType,
{
    let array = whole::<polars::PrimitiveArray<T::Native>>(array)?;
    let values = lent(array.clone(), |array| bytemuck::cast_slice(array.values().as_slice()));
    Ok(PrimitiveArray::new(ScalarBuffer::new(values, 0, array.len()), array.validity().map(nulls)))
}

fn text(array: &polars::Utf8ViewArray) -> Result<ArrayRef, String> {
    let mut views = lent(array.clone(), |array| bytemuck::cast_slice(array.views().as_slice()));
    // Arrow's views are 16-byte numbers and aligned as such; Polars's need not be.
    if views.as_ptr().align_offset(align_of::<u128>()) != 0 {
        views = Buffer::from_slice_ref(views.as_slice());
    }
    let data = |at: usize| lent(array.clone(), move |array| array.data_buffers()[at].as_slice());
    let data: Vec<Buffer> = (0..array.data_buffers().len()).map(data).collect();
    let views = ScalarBuffer::new(views, 0, array.len());
    let texts = StringViewArray::try_new(views, data, polars::Array::validity(array).map(nulls));
    Ok(Arc::new(texts.map_err(|e| e.to_string())?))
}

fn list(array: &polars::ListArray<i64>) -> Result<ArrayRef, String> {
    let values = from_polars(array.values().as_ref())?;
    let offsets = lent(array.clone(), |array| bytemuck::cast_slice(array.offsets().as_slice()));
    let offsets = OffsetBuffer::new(ScalarBuffer::new(offsets, 0, polars::Array::len(array) + 1));
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let lists = LargeListArray::try_new(field, offsets, values, polars::Array::validity(array).map(nulls));
    Ok(Arc::new(lists.map_err(|e| e.to_string())?))
}

fn categories<K: ArrowDictionaryKeyType>(array: &dyn polars::Array) -> Result<ArrayRef, String>
where
    K::Native: NativeType + polars::DictionaryKey,
{
    let array = whole::<polars::DictionaryArray<K::Native>>(array)?;
    let categories = DictionaryArray::<K>::try_new(numbers(array.keys())?, from_polars(array.values().as_ref())?);
    Ok(Arc::new(categories.map_err(|e| e.to_string())?))
}

/// Converts an Arrow array to Polars: numbers, text, and lists of these.
///
/// # Errors
/// Names a type that is none of these.
pub(super) fn to_polars(array: &ArrayRef) -> Result<Box<dyn polars::Array>, String> {
    use DataType as Is;
    match array.data_type() {
        Is::UInt32 => Ok(numbers_to_polars::<UInt32Type>(array)),
        Is::UInt64 => Ok(numbers_to_polars::<UInt64Type>(array)),
        Is::Int32 => Ok(numbers_to_polars::<Int32Type>(array)),
        Is::Int64 => Ok(numbers_to_polars::<Int64Type>(array)),
        Is::Float32 => Ok(numbers_to_polars::<Float32Type>(array)),
        Is::Float64 => Ok(numbers_to_polars::<Float64Type>(array)),
        Is::Utf8View => text_to_polars(array.as_string_view()),
        // The views are created; the text is shared.
        Is::Utf8 => text_to_polars(&StringViewArray::from(array.as_string::<i32>())),
        Is::LargeUtf8 => text_to_polars(&StringViewArray::from(array.as_string::<i64>())),
        Is::LargeList(_) => {
            let lists = array.as_list::<i64>();
            let values = to_polars(lists.values())?;
            let offsets = PolarsBuffer::from_owner(lists.offsets().inner().clone());
            let offsets = OffsetsBuffer::try_from(offsets).map_err(|e| e.to_string())?;
            let kind = polars::ListArray::<i64>::default_datatype(values.dtype().clone());
            let lists = polars::ListArray::try_new(kind, offsets, values, validity(array.nulls()));
            Ok(Box::new(lists.map_err(|e| e.to_string())?))
        }
        Is::List(field) => {
            let wide = cast(array, &Is::LargeList(Arc::clone(field))).map_err(|e| e.to_string())?;
            to_polars(&wide)
        }
        other => Err(format!("holds {other}, which cannot be put into a data frame")),
    }
}

fn numbers_to_polars<T: ArrowPrimitiveType>(array: &ArrayRef) -> Box<dyn polars::Array>
where
    T::Native: NativeType,
{
    let values = PolarsBuffer::from_owner(array.as_primitive::<T>().values().clone());
    Box::new(polars::PrimitiveArray::new(T::Native::PRIMITIVE.into(), values, validity(array.nulls())))
}

/// Views borrowed from an array of numbers.
struct LentViews(ScalarBuffer<u128>);

impl AsRef<[polars::View]> for LentViews {
    fn as_ref(&self) -> &[polars::View] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Bytes borrowed from a buffer.
struct LentBytes(Buffer);

impl AsRef<[u8]> for LentBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

fn text_to_polars(array: &StringViewArray) -> Result<Box<dyn polars::Array>, String> {
    let views = PolarsBuffer::from_owner(LentViews(array.views().clone()));
    let data = array.data_buffers().iter().map(|data| PolarsBuffer::from_owner(LentBytes(data.clone())));
    let data: Vec<PolarsBuffer<u8>> = data.collect();
    let texts = polars::Utf8ViewArray::try_new(ArrowDataType::Utf8View, views, data.into(), validity(array.nulls()));
    Ok(Box::new(texts.map_err(|e| e.to_string())?))
}

/// Returns which rows have a value: one bit per row, copied because Polars only makes bitmaps from its own vectors.
fn validity(nulls: Option<&NullBuffer>) -> Option<Bitmap> {
    nulls.map(|nulls| nulls.iter().collect())
}
