using System;
using System.Collections.Generic;
using System.Linq;

namespace Example.Orders
{
    public class Order
    {
        public int Id { get; set; }
        public decimal Total { get; set; }
    }

    public static class Report
    {
        public static decimal Average(IEnumerable<Order> orders)
        {
            return orders.Where(order => order.Total > 0).Average(order => order.Total);
        }
    }
}
