export function groupBy(items, keyOf) {
  const groups = {};
  for (const item of items) {
    const key = keyOf(item);
    if (!groups[key]) groups[key] = [];
    groups[key].push(item);
  }
  return groups;
}

export const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

const byLength = groupBy(['pear', 'plum', 'apple', 'grape'], (word) => word.length);
console.log(Object.keys(byLength), sum([1, 2, 3]));
