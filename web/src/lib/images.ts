// Pictures that are attached to a message.

import { uuid } from './ids';
import type { AttachmentUpload } from './types';

export interface Picture extends AttachmentUpload {
  id: string;
  size: number;
}

export const MAX_PICTURES = 6;
const MAX_EDGE = 2048;
const KEEP_BYTES = 1_500_000;
const TYPES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);

export const isPicture = (file: File): boolean => TYPES.has(file.type);

export const dataUrl = (p: { media_type: string; data: string }): string => `data:${p.media_type};base64,${p.data}`;

export async function readPicture(file: File): Promise<Picture> {
  const small = await shrink(file);
  const data = await base64(small);
  const name = file.name || `picture.${small.type.split('/')[1] ?? 'png'}`;
  return { id: uuid(), name, media_type: small.type, data, size: small.size };
}

/** A large photograph is made smaller: models scale it down anyway. Animations stay as they are. */
async function shrink(file: File): Promise<Blob> {
  if (file.type === 'image/gif' || file.size <= KEEP_BYTES) return file;
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, MAX_EDGE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement('canvas');
    canvas.width = Math.round(bitmap.width * scale);
    canvas.height = Math.round(bitmap.height * scale);
    canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, 'image/jpeg', 0.86));
    return blob && blob.size < file.size ? blob : file;
  } catch {
    return file;
  }
}

function base64(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(',')[1] ?? '');
    reader.onerror = () => reject(new Error('The picture could not be read.'));
    reader.readAsDataURL(blob);
  });
}
