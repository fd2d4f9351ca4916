using System;
using System.IO;

class Program
{
    static void Main(string[] args)
    {
        foreach (string path in Directory.GetFiles(args[0], "*.txt"))
        {
            var info = new FileInfo(path);
            Console.WriteLine($"{info.Name,-30} {info.Length,10:N0} bytes");
        }
    }
}
