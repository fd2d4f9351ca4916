export interface Temperature {
  readonly city: string;
  readonly celsius: number;
}

type Scale = 'celsius' | 'fahrenheit';

export function format(reading: Temperature, scale: Scale): string {
  const value: number = scale === 'celsius' ? reading.celsius : reading.celsius * 1.8 + 32;
  return `${reading.city}: ${value.toFixed(1)}`;
}
